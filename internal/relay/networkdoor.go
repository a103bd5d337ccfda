package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// networkConnections is how many a network server has at once.
const networkConnections = 4096

// undefined is what some peers write for a parameter that they do not have.
const undefined = "undefined"

// networkPaths says which method each path takes.
var networkPaths = map[string]string{
	pathRegister: http.MethodGet, pathRemove: http.MethodGet, pathClusters: http.MethodGet,
	pathMembers: http.MethodGet, pathStatus: http.MethodGet, pathReport: http.MethodPost,
}

// ServeHTTP implements http.Handler.
func (n *networkServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method, known := networkPaths[r.URL.Path]
	switch {
	case !known:
		n.refuse(w, http.StatusNotFound, codeNotFound, "there are /register, /remove, /clusters, /members, /status and /report")
		return
	case r.Method != method:
		w.Header().Set("Allow", method)
		n.refuse(w, http.StatusMethodNotAllowed, codeMethod, "this path takes "+method)
		return
	case fromElsewhere(r):
		n.refuse(w, http.StatusForbidden, codeOrigin, "pages of other sites may not ask this server")
		return
	case changesNetwork(r.URL.Path) && fromSomePage(r):
		n.refuse(w, http.StatusForbidden, codeOrigin, "a browser does not say which site has it ask this: take a program, such as curl")
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		n.refuse(w, http.StatusBadRequest, codeParameter, "the query cannot be read: "+err.Error())
		return
	}
	switch r.URL.Path {
	case pathRegister:
		n.register(w, r, query)
	case pathRemove:
		n.remove(w, r, query)
	case pathClusters:
		w.Header().Set(headerRun, n.run)
		answerText(w, n.listed(false))
	case pathMembers:
		w.Header().Set(headerRun, n.run)
		answerText(w, n.listed(true))
	case pathStatus:
		n.tell(w, r)
	case pathReport:
		n.report(w, r)
	}
}

// statusAtOnce is how many are told the status at once: it may have 32 MiB and more.
const statusAtOnce = 4

// tell answers with the status.
func (n *networkServer) tell(w http.ResponseWriter, r *http.Request) {
	select {
	case n.telling <- struct{}{}:
		defer func() { <-n.telling }()
	case <-r.Context().Done():
	}
	if r.Context().Err() == nil { // else nobody is there
		answer(w, n.status())
	}
}

func (n *networkServer) refuse(w http.ResponseWriter, status int, code, reason string) {
	n.metrics.refused.WithLabelValues(code).Inc()
	refuse(w, status, code, reason)
}

// fromElsewhere says whether a page of another site makes a browser ask: joining
// is a GET on this wire, and every page can have one sent. Programs send none of
// these headers.
func fromElsewhere(r *http.Request) bool {
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
	default:
		return true
	}
	for _, header := range []string{"Origin", "Referer"} {
		if from := r.Header.Get(header); from != "" {
			u, err := url.Parse(from)
			if err != nil || !strings.EqualFold(u.Host, r.Host) {
				return true
			}
		}
	}
	return false
}

// changesNetwork says whether a path is one for programs alone, which changes something.
func changesNetwork(path string) bool {
	return path == pathRegister || path == pathRemove || path == pathReport
}

// browsers is how a browser begins its name, which no page can change in what it has
// asked of another site. The second one fetches films for some.
var browsers = []string{"Mozilla/5.0 (", "AppleCoreMedia/", "Opera/"}

// fromSomePage says whether a browser asks that does not say for whom: by plain HTTP,
// but on loopback, it tells nothing of the site (W3C Fetch Metadata), and a page can have
// it leave out Referer, and, of an image, Origin. Every browser says what it accepts
// (WHATWG Fetch); programs that only call themselves one do not.
func fromSomePage(r *http.Request) bool {
	if r.Header.Get("Sec-Fetch-Site") != "" {
		return false // it says it, see fromElsewhere
	}
	name := r.UserAgent()
	_, accepts := r.Header["Accept"]
	return accepts && slices.ContainsFunc(browsers, func(begin string) bool { return strings.HasPrefix(name, begin) })
}

// given returns a parameter; one that is not there is empty.
func given(query url.Values, name string) string {
	if text := query.Get(name); text != undefined {
		return text
	}
	return ""
}

// readAsking reads the parameters of /register.
func readAsking(query url.Values, caller string) (asking, error) {
	a := asking{cluster: given(query, "cluster"), address: given(query, "address"), id: given(query, "id")}
	if err := checkID(a.cluster); err != nil {
		return a, fmt.Errorf("cluster: %w", err)
	}
	if a.id != "" {
		if err := checkID(a.id); err != nil {
			return a, fmt.Errorf("id: %w", err)
		}
	}
	if a.address == "" {
		a.address = hostOf(caller)
	}
	a.address = plainHost(a.address)
	if err := checkReached(a.address); err != nil {
		return a, fmt.Errorf("address: %w", err)
	}
	for _, p := range []struct {
		name string
		to   *int
	}{{"port", &a.port}, {"taken", &a.taken}} {
		text := given(query, p.name)
		if text == "" {
			continue
		}
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil || number == 0 {
			return a, fmt.Errorf("%s: %.20q must be 1 to %d", p.name, text, maxPort)
		}
		*p.to = int(number)
	}
	return a, nil
}

// plainHost writes an IP address in one way: without brackets, without a zone, which
// means nothing elsewhere, and IPv4 as such.
func plainHost(host string) string {
	host = strings.Trim(host, "[]")
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().WithZone("").String()
	}
	return host
}

func (n *networkServer) register(w http.ResponseWriter, r *http.Request, query url.Values) {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		// Peers of another make may say more than we know, which is passed over. What is
		// mistyped would have whoever joins be elsewhere than it thinks.
		if meant := config.MeantBy(name, []string{"cluster", "address", "port", "taken", "id"}); meant != "" && !query.Has(meant) {
			n.refuse(w, http.StatusBadRequest, codeParameter, fmt.Sprintf("%.20q is no parameter: did you mean %s?", name, meant))
			return
		}
	}
	a, err := readAsking(query, r.RemoteAddr)
	if err != nil {
		n.refuse(w, http.StatusBadRequest, codeParameter, err.Error())
		return
	}
	m, err := n.join(r.Context(), a)
	if err != nil {
		n.refuseLater(w, r, err)
		return
	}
	answer(w, m)
}

func (n *networkServer) remove(w http.ResponseWriter, r *http.Request, query url.Values) {
	id := given(query, "id")
	if err := checkID(id); err != nil {
		n.refuse(w, http.StatusBadRequest, codeParameter, "id: "+err.Error())
		return
	}
	if err := n.leave(r.Context(), id, hostOf(r.RemoteAddr)); err != nil {
		n.refuseLater(w, r, err)
		return
	}
	answer(w, map[string]int{"success": 1})
}

// refuseLater refuses what may go well when it is asked again.
func (n *networkServer) refuseLater(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil || errors.Is(err, context.Canceled) {
		return // nobody is there
	}
	w.Header().Set("Retry-After", "10")
	var full *fullError
	if errors.As(err, &full) {
		n.refuse(w, http.StatusServiceUnavailable, codeFull, full.reason)
		return
	}
	n.refuse(w, http.StatusServiceUnavailable, codeState, "members cannot be kept now; the log says why")
}

func (n *networkServer) report(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		n.refuse(w, http.StatusRequestEntityTooLarge, codeTooLarge, fmt.Sprintf("a report has at most %d bytes", maxReport))
		return
	case err != nil:
		n.refuse(w, http.StatusBadRequest, codeBroken, "the report broke off")
		return
	}
	told, err := parseReport(body)
	if err != nil {
		n.refuse(w, http.StatusBadRequest, codeParameter, err.Error())
		return
	}
	size := max(len(body), told.size())
	n.mu.Lock()
	n.reports.take(n.now(), told, size)
	n.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}
