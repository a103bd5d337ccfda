package load

import (
	"context"
	"io"
	"time"
)

type Step struct{}
type SuiteOptions struct {
	Short         bool
	Only          []string
	Rounds        int
	Duration      time.Duration
	Folder        string
	Child         Child
	LoadCPU       int
	Version       string
	Progress, Log io.Writer
}

func Profile(context.Context, Options) (Report, error)    { return Report{}, nil }
func CheckProfile(string, Options) error                  { return nil }
func Suite(context.Context, SuiteOptions) (Report, error) { return Report{}, nil }
func CheckSuite(SuiteOptions) error                       { return nil }
func ListRows(io.Writer) error                            { return nil }
func CheckBaseline(o Options) error                       { o = o.baseline(); return o.Check() }
func (r Report) Print(w io.Writer) error {
	for _, run := range r.Runs {
		if err := run.Print(w); err != nil {
			return err
		}
	}
	return nil
}
func (r Report) WriteMarkdown(w io.Writer) error { return nil }
func (r Report) WriteSVG(w io.Writer) error      { return nil }
func Compare(w io.Writer, a, b Report) error     { return nil }
