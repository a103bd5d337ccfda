package nodetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Device is a client of the simple door: it speaks lines of text.
type Device struct {
	Name  string
	t     testing.TB
	ws    *websocket.Conn
	lines chan string // what it was told; closed when the connection has ended
	err   error       // why that was; set when lines is closed
	stop  context.CancelFunc
}

// ConnectDevice connects a device at a place, and takes the first line.
func ConnectDevice(t testing.TB, s *Server, id string, lat, lon float64) *Device {
	t.Helper()
	q := url.Values{"id": {id}, "lat": {fmt.Sprint(lat)}, "lon": {fmt.Sprint(lon)}}
	d, _, err := TryDevice(t, s, q, nil)
	if err != nil {
		t.Fatalf("%s cannot connect: %v", id, err)
	}
	t.Cleanup(d.Abort)
	if first := d.Next(); !strings.HasPrefix(first, "Connected and handled by ") {
		t.Fatalf("%s was told %q first", id, first)
	}
	return d
}

// TryDevice connects a device with a query and a header, or returns the status with which
// it was refused. Any goroutine of the test may call it.
func TryDevice(t testing.TB, s *Server, query url.Values, header http.Header) (d *Device, status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	ws, res, err := websocket.Dial(ctx, "ws://"+s.Addr+"/device/connect?"+query.Encode(), &websocket.DialOptions{HTTPHeader: header})
	if res != nil {
		status = res.StatusCode
	}
	if err != nil {
		return nil, status, err
	}
	ws.SetReadLimit(1 << 20)
	reading, stop := context.WithCancel(context.Background())
	d = &Device{Name: query.Get("id"), t: t, ws: ws, lines: make(chan string, 100), stop: stop}
	go d.read(reading)
	return d, status, nil
}

func (d *Device) read(ctx context.Context) {
	defer close(d.lines)
	for {
		_, b, err := d.ws.Read(ctx)
		if err != nil {
			d.err = err
			return
		}
		select {
		case d.lines <- string(b):
		case <-ctx.Done():
			d.err = ctx.Err()
			return
		}
	}
}

// TryNext returns the next line, or why there is none.
func (d *Device) TryNext() (string, error) {
	select {
	case line, ok := <-d.lines:
		if !ok {
			return "", fmt.Errorf("the connection ended: %w", d.err)
		}
		return line, nil
	case <-time.After(Patience):
		return "", errors.New("nothing came")
	}
}

// Next returns the next line.
func (d *Device) Next() string {
	d.t.Helper()
	line, err := d.TryNext()
	if err != nil {
		d.t.Fatalf("%s: %v", d.Name, err)
	}
	return line
}

// Expect fails unless these are the next lines.
func (d *Device) Expect(lines ...string) {
	d.t.Helper()
	for _, want := range lines {
		if got := d.Next(); got != want {
			d.t.Fatalf("%s was told %q, not %q", d.Name, got, want)
		}
	}
}

// Say sends a line.
func (d *Device) Say(line string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := d.ws.Write(ctx, websocket.MessageText, []byte(line)); err != nil {
		d.t.Fatalf("%s cannot say %q: %v", d.Name, line, err)
	}
}

// CloseCode waits for the end of the connection and returns the server's close code.
func (d *Device) CloseCode() int {
	d.t.Helper()
	for {
		if _, err := d.TryNext(); err != nil {
			return int(websocket.CloseStatus(err))
		}
	}
}

// Close ends the connection with a handshake.
func (d *Device) Close() {
	// It may be gone already; that is as good.
	_ = d.ws.Close(websocket.StatusNormalClosure, "")
	d.stop()
}

// Abort ends the connection without a word.
func (d *Device) Abort() {
	d.stop()
	_ = d.ws.CloseNow()
}
