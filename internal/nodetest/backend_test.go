package nodetest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// The backends of docs/backend.md run as they are printed there, but for the
// ports: they send, hear the webhook and see the delivery.
func TestTheBackendsOfTheDocumentation(t *testing.T) {
	t.Parallel()
	page := ReadCheckout(t, "docs/backend.md")
	for name, program := range map[string]func(t testing.TB, code string) Program{"go": GoProgram, "js": NodeProgram} {
		t.Run(name, func(t *testing.T) {
			shop, backend := freeAddress(t), freeAddress(t)
			ports := strings.NewReplacer("127.0.0.1:8188", shop, "127.0.0.1:8090", backend, "listen(8090,", "listen("+backend[len("127.0.0.1:"):]+",")
			code := ports.Replace(Block(t, page, name))
			if n := strings.Count(code, "\n"); n > 60 {
				t.Errorf("the backend has %d lines, it is said to have sixty", n)
			}
			settings := filepath.Join(t.TempDir(), "shop.yaml")
			if err := os.WriteFile(settings, []byte(ports.Replace(Block(t, page, "yaml"))), 0o600); err != nil {
				t.Fatal(err)
			}
			s := Start(t, "--config", settings)
			said := run(t, program(t, code), "SWITCHBOARD=http://"+s.Addr, "SWITCHBOARD_KEY="+makeKey(t, s, "--app", "SHOP", "--scope", "messages:send"),
				"WEBHOOK_SECRET=a-secret-of-at-least-32-characters")
			Eventually(t, "the backend listens", func() bool {
				conn, err := net.Dial("tcp", backend)
				if err == nil {
					conn.Close()
				}
				return err == nil
			})
			customer := Dial(t, s)
			if err := customer.TrySignIn("shop-1", "SHOP-7", ""); err != nil {
				t.Fatal(err)
			}
			resp, err := http.Post("http://"+backend+"/orders?customer=SHOP-7&number=4711", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				t.Fatalf("the order is answered with %s: %s", resp.Status, answer)
			}
			if m := customer.Expect("MESSAGE"); m.Field("content") != "Thank you for order 4711" {
				t.Errorf("the customer got %s", m.Field("content"))
			}
			Eventually(t, "the backend knows that the customer knows", func() bool {
				return strings.Contains(said(), "connected SHOP-7\n") && strings.Contains(said(), "delivered SHOP-7 4711\n")
			})
			customer.Close()
			Eventually(t, "the backend hears that the customer has left", func() bool { return strings.Contains(said(), "disconnected SHOP-7\n") })
			key := makeKey(t, s, "--app", "SHOP", "--scope", "webhooks:manage")
			if a := s.ask("POST", "/v1/webhooks/backend/tests", "", []string{"Authorization", "Bearer " + key}); a.Status != http.StatusOK {
				t.Errorf("the test is answered with %d: %s", a.Status, a.Body)
			}
			Eventually(t, "the backend hears the test, which is about nobody", func() bool { return strings.HasSuffix(said(), "\ntest\n") })
		})
	}
}

// run starts a program and returns what it has said so far.
func run(t *testing.T, program Program, environment ...string) (said func() string) {
	t.Helper()
	var mu sync.Mutex
	var text strings.Builder
	var reading sync.WaitGroup
	t.Cleanup(reading.Wait) // after the program's end
	lines := program.Start(t, environment...)
	reading.Go(func() {
		for lines.Scan() {
			mu.Lock()
			fmt.Fprintln(&text, lines.Text())
			mu.Unlock()
		}
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

// makeKey makes an API key from the command line.
func makeKey(t *testing.T, s *Server, args ...string) string {
	t.Helper()
	cmd := exec.Command(Binary(t), append([]string{"keys", "create", "--data", s.Data}, args...)...)
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("keys create: %v\n%s", err, out)
	}
	key := regexp.MustCompile(`sb_\w+`).FindString(string(out))
	if key == "" {
		t.Fatalf("keys create printed no key: %s", out)
	}
	return key
}
