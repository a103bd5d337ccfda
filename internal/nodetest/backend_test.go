package nodetest

import (
	"bufio"
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
	page, err := os.ReadFile("../../docs/backend.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(t *testing.T, code string) *exec.Cmd{"go": goProgram, "js": nodeProgram} {
		t.Run(name, func(t *testing.T) {
			shop, backend := freeAddress(t), freeAddress(t)
			ports := strings.NewReplacer("127.0.0.1:8188", shop, "127.0.0.1:8090", backend, "listen(8090,", "listen("+backend[len("127.0.0.1:"):]+",")
			code := ports.Replace(block(t, page, name))
			if n := strings.Count(code, "\n"); n > 60 {
				t.Errorf("the backend has %d lines, it is said to have sixty", n)
			}
			settings := filepath.Join(t.TempDir(), "shop.yaml")
			if err := os.WriteFile(settings, []byte(ports.Replace(block(t, page, "yaml"))), 0o600); err != nil {
				t.Fatal(err)
			}
			s := Start(t, "--config", settings)
			cmd := start(t, code)
			cmd.Env = append(os.Environ(), "SWITCHBOARD=http://"+s.Addr, "SWITCHBOARD_KEY="+makeKey(t, s, "--app", "SHOP", "--scope", "messages:send"),
				"WEBHOOK_SECRET=a-secret-of-at-least-32-characters")
			said := run(t, cmd)
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

// block returns the only block of code in that language.
func block(t *testing.T, page []byte, language string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(page, -1)
	if len(found) != 1 {
		t.Fatalf("the page has %d blocks of %s", len(found), language)
	}
	return string(found[0][1])
}

func goProgram(t *testing.T, code string) *exec.Cmd {
	t.Helper()
	source := writeProgram(t, "backend.go", code)
	program := strings.TrimSuffix(source, ".go")
	if out, err := exec.Command("go", "build", "-o", program, source).CombinedOutput(); err != nil {
		t.Fatalf("build the backend: %v\n%s", err, out)
	}
	return exec.Command(program)
}

func nodeProgram(t *testing.T, code string) *exec.Cmd {
	t.Helper()
	return exec.Command("node", writeProgram(t, "backend.mjs", code))
}

func writeProgram(t *testing.T, name, code string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a program that runs until the test ends, and returns what it has
// said so far.
func run(t *testing.T, cmd *exec.Cmd) (said func() string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var text strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			mu.Lock()
			fmt.Fprintln(&text, lines.Text())
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		reading.Wait()
		_ = cmd.Wait()
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
