package load

import (
	"fmt"
	"io"
)

// progress is one line that is written over and over.
type progress struct {
	out  io.Writer // nil: none
	said int       // characters on the line
}

func newProgress(out io.Writer) *progress { return &progress{out: out} }

func (p *progress) say(format string, args ...any) {
	if p.out == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(p.out, "\r%-*s", p.said, text)
	p.said = len(text)
}

// end clears the line.
func (p *progress) end() {
	if p.said > 0 {
		fmt.Fprintf(p.out, "\r%*s\r", p.said, "")
		p.said = 0
	}
}
