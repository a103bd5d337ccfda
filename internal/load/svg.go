package load

import (
	"fmt"
	"io"
	"text/template"
)

// bar is one finding in the picture.
type bar struct {
	Label, Value, Colour string
	Y                    int
	Width                float64
}

// Sizes of the picture, in pixels.
const (
	barLeft  = 380
	barUnit  = 240 // a bar this long just reaches
	barMost  = 1.75
	barStep  = 26
	barSpace = 300 // right of the longest bar, for its value
)

// picture is drawn with one bar for each finding; the line is where it reaches.
const picture = `<svg xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Height}}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="white"/>
<text x="{{.Line}}" y="20" text-anchor="middle" fill="#555">reach</text>
{{range .Bars -}}
<text x="{{$.Left}}" y="{{.Y}}" dx="-8" dy="13" text-anchor="end">{{html .Label}}</text>
<rect x="{{$.Left}}" y="{{.Y}}" width="{{printf "%.1f" .Width}}" height="18" fill="{{.Colour}}"/>
<text x="{{$.Left}}" y="{{.Y}}" dx="{{printf "%.1f" .Width}}" dy="13">&#160;{{html .Value}}</text>
{{end -}}
<line x1="{{.Line}}" y1="26" x2="{{.Line}}" y2="{{.Height}}" stroke="#555" stroke-dasharray="4 3"/>
</svg>
`

// WriteSVG draws how far each finding of the suite reaches; without any, what
// arrived a second in each run.
func (r Report) WriteSVG(w io.Writer) error {
	var bars []bar
	add := func(label, value string, share float64, good bool) {
		colour := "#3a7d44"
		if !good {
			colour = "#c0392b"
		}
		bars = append(bars, bar{label, value, colour, 32 + barStep*len(bars), barUnit * max(0, min(share, barMost))})
	}
	for _, row := range r.Rows {
		for _, f := range row.Findings {
			add(row.Name+": "+f.What, fmt.Sprintf("%s (%s)", f.measured(), f.reach()), f.share(), f.Reached)
		}
	}
	if len(r.Rows) == 0 {
		var most float64
		for _, run := range r.Runs {
			most = max(most, run.ArrivedRate)
		}
		for _, run := range r.Runs {
			add(run.Name, number(run.ArrivedRate, unitRate), run.ArrivedRate/max(most, 1), true)
		}
	}
	t, err := template.New("picture").Parse(picture)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{"Bars": bars, "Left": barLeft, "Line": barLeft + barUnit,
		"Width": barLeft + int(barUnit*barMost) + barSpace, "Height": 40 + barStep*len(bars)})
}

// share is 1 where a finding just reaches, more where it does better.
func (f Found) share() float64 {
	v := f.Measured
	if f.Baseline != 0 {
		v = f.Ratio
	}
	switch {
	case !f.AtMost && f.Reach > 0:
		return v / f.Reach
	case f.AtMost && v > 0:
		return f.Reach / v
	}
	return barMost
}
