package relay

import (
	"net/http"
	"sync/atomic"
	"testing"
)

func TestACollectorThatDoesNotGoOnWhereItSaidIsSentTheWholeFile(t *testing.T) {
	var denied atomic.Int32
	c := newStub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			w.Header().Set(headerOffset, "3")
			return true
		}
		if r.Header.Get("Content-Range") == "" && denied.Load() > 0 {
			return false
		}
		denied.Add(1) // the first try is of all of it, and has it be asked what is held
		return refusing(http.StatusConflict)(w, r)
	})
	dir := t.TempDir()
	drop(t, dir, "file", "content")
	newUpload(t, standardUpload(dir, next(map[string]*stub{"a": c}))).start(quickUpload)
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
	if got := c.content("file"); got != "content" || denied.Load() != 1+mostDenied {
		t.Errorf("it has %q, and did not take it %d times", got, denied.Load())
	}
}
