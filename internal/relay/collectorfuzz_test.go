package relay

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever is read as a digest is written as one that is read the same.
func FuzzReadDigest(f *testing.F) {
	good := Digest(sha256.Sum256([]byte("one"))).header()
	for _, seed := range []string{good, "", "sha-512=:YQ==:, " + good + ";q=1", "SHA-256=:YQ==:", good + "," + Digest{}.header(), good + "\n" + good, "sha-256=", "=,;:", "sha-256=::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		digest, known, no := readDigest(&http.Request{Header: http.Header{headerDigest: strings.Split(lines, "\n")}})
		if no != nil && (known || no.status != http.StatusBadRequest || no.reason == "") || !known && digest != (Digest{}) && no == nil {
			t.Fatalf("%q is read as %x, %v, %+v", lines, digest, known, no)
		}
		if !known {
			return
		}
		if again, ok, err := parseDigest(digest.header()); err != nil || !ok || again != digest {
			t.Errorf("%q is read as %x, and that as %x", lines, digest, again)
		}
	})
}

// Whatever is read as a range is the end of a file, and is written in one way alone.
func FuzzReadUpload(f *testing.F) {
	for _, seed := range []struct {
		name, key, from string
		length          int64
	}{
		{"a", `"key"`, "bytes 1-2/3", 2}, {"a%2Fb", "", "bytes +1-2/3", 2}, {"%ff", `"`, "bytes 0-0/1", -1}, {".a", `""`, "bytes 2-1/0", 0},
		{"a", `"a"b"`, "bytes 0-18446744073709551615/18446744073709551616", -1}, {"a", `"k"`, "bytes 9223372036854775806-9223372036854775806/9223372036854775807", -1},
	} {
		f.Add(seed.name, seed.key, seed.from, seed.length)
	}
	f.Fuzz(func(t *testing.T, name, key, from string, length int64) {
		r := httptest.NewRequest(http.MethodPut, "/", nil)
		r.URL.Path, r.URL.RawPath = "/"+name, ""
		r.ContentLength = max(length, -1)
		r.Header = http.Header{headerDigest: {Digest{1}.header()}, headerKey: {key}, "Content-Range": {from}, "Content-Length": {"1"}}
		u, no := readUpload(r)
		if no != nil {
			if no.status/100 != 4 || no.reason == "" {
				t.Errorf("it is refused with %+v", no)
			}
			return
		}
		if strings.ContainsAny(u.Name, "/\\\x00") || u.Name == "" || u.Name[0] == '.' {
			t.Errorf("the name %q is taken", u.Name)
		}
		if u.Key != strings.Trim(key, `"`) {
			t.Errorf("%q is read as %q", key, u.Key)
		}
		if from == "" {
			return
		}
		if u.Offset < 0 || u.Offset >= u.Size || length >= 0 && u.Size-u.Offset != length {
			t.Errorf("%q with %d bytes is read as %+v", from, length, u)
		}
		if digits := strings.TrimPrefix(from, "bytes "); len(digits) == len(fmt.Sprintf("%d-%d/%d", u.Offset, u.Size-1, u.Size)) && from != fmt.Sprintf("bytes %d-%d/%d", u.Offset, u.Size-1, u.Size) || strings.ContainsAny(from, "+_") {
			t.Errorf("%q is read as %+v", from, u)
		}
	})
}
