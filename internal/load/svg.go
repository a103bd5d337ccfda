package load

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/template"
	"unicode/utf8"
)

// Sizes of pictures, in pixels.
const (
	margin    = 20
	lineStep  = 20
	barStep   = 26
	barHeight = 16
	barUnit   = 240 // a bar this long is just at its reach
	barMost   = 1.75
	decade    = 90  // of the scale of latencies
	charWidth = 7.6 // at most, on average, at 13 pixels
	boldWidth = 8.6
)

// Colours, which are told apart without red and green, too: what is not reached
// is the darkest.
const (
	colourGood  = "#4c9f70"
	colourBad   = "#a02c2c"
	colourPlain = "#5b86b5"
	colourGrey  = "#666"
)

// canvas is a picture that grows downwards, and to the right as its texts need.
type canvas struct {
	b     strings.Builder
	y     int // where the next line begins
	width float64
}

// text writes at x, y; attributes may follow.
func (c *canvas) text(x float64, y int, s string, attributes ...string) {
	as, width := strings.Join(attributes, " "), charWidth
	if strings.Contains(as, "bold") {
		width = boldWidth
	}
	c.width = max(c.width, x+width*float64(utf8.RuneCountInString(s))+margin)
	fmt.Fprintf(&c.b, `<text x="%.1f" y="%d" %s>%s</text>`+"\n", x, y, as, template.HTMLEscapeString(s))
}

func (c *canvas) line(x1 float64, y1 int, x2 float64, y2 int, attributes string) {
	fmt.Fprintf(&c.b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" %s/>`+"\n", x1, y1, x2, y2, attributes)
}

func (c *canvas) bar(x float64, y int, width float64, attributes string) {
	fmt.Fprintf(&c.b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" %s/>`+"\n", x, y, width, barHeight, attributes)
	c.width = max(c.width, x+width+margin)
}

// paragraph writes one line of text.
func (c *canvas) paragraph(s string, attributes ...string) {
	c.y += lineStep
	c.text(margin, c.y, s, attributes...)
}

// WriteSVG draws how far each finding of the suite reaches; without any, the
// latencies of each run.
func (r Report) WriteSVG(w io.Writer) error {
	c := &canvas{y: margin / 2}
	title := "Switchboard: latency of each run"
	if len(r.Rows) > 0 {
		title = "Switchboard: what the benchmark suite measured beside what it is to reach"
	}
	c.paragraph(title, `font-weight="bold"`)
	c.paragraph(r.origin(), `fill="`+colourGrey+`"`)
	for _, note := range r.Notes {
		attribute := `fill="` + colourGrey + `"`
		if note == shortNote {
			attribute = `font-weight="bold" fill="` + colourBad + `"`
		}
		c.paragraph(note, attribute)
	}
	if len(r.Rows) > 0 {
		r.drawRows(c)
	} else {
		r.drawRuns(c)
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" font-family="sans-serif" font-size="13">
<defs><pattern id="less" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="3" height="6" fill="white" fill-opacity="0.45"/></pattern></defs>
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, c.width, c.y+margin, c.b.String())
	return err
}

// drawRows draws a bar for each finding, all on one scale: its part of its
// reach. Where more is better it is to pass the line, else to end before it.
func (r Report) drawRows(c *canvas) {
	var left float64
	for _, row := range r.Rows {
		for _, f := range row.Findings {
			left = max(left, charWidth*float64(utf8.RuneCountInString(row.Name+": "+f.What)))
		}
	}
	left += margin + 10
	r.drawLegend(c)
	c.y += barStep
	line, top := left+barUnit, c.y
	c.text(line, top, "reach", `text-anchor="middle"`, `fill="`+colourGrey+`"`)
	c.y += 8
	for _, row := range r.Rows {
		for _, f := range row.Findings {
			c.text(margin, c.y+13, row.Name+": "+f.What)
			f.draw(c, left)
			c.y += barStep
		}
	}
	c.line(line, top+4, line, c.y, `stroke="#333" stroke-dasharray="4 3"`)
}

// drawLegend says what colours, stripes and the mark of a bar mean.
func (r Report) drawLegend(c *canvas) {
	c.y += barStep / 2
	for _, l := range []struct {
		colour, what string
		less, cut    bool
	}{
		{colour: colourGood, what: "reached"},
		{colour: colourBad, what: "not reached"},
		{colour: colourGrey, what: "not judged: a short run"},
		{colour: colourPlain, what: "plain (any colour): at least; more is better, the bar is to pass the line"},
		{colour: colourPlain, what: "striped (any colour): at most; less is better, the bar is to end before the line", less: true},
		{colour: colourPlain, what: "pointed: longer than is drawn", cut: true},
	} {
		drawBar(c, margin, 34, l.colour, l.less, l.cut)
		c.text(margin+60, c.y+13, l.what)
		c.y += lineStep + 2
	}
}

// drawBar draws a bar on the line that begins at c.y.
func drawBar(c *canvas, x, width float64, colour string, less, cut bool) {
	c.bar(x, c.y, width, `fill="`+colour+`"`)
	if less {
		c.bar(x, c.y, width, `fill="url(#less)"`)
	}
	if cut {
		fmt.Fprintf(&c.b, `<polygon points="%.1f,%d %.1f,%d %.1f,%d" fill="%s"/>`+"\n",
			x+width+3, c.y, x+width+14, c.y+barHeight/2, x+width+3, c.y+barHeight, colour)
	}
}

// draw draws the bar of a finding, and right of all bars its numbers.
func (f Found) draw(c *canvas, left float64) {
	colour := colourBad
	switch {
	case f.NotJudged:
		colour = colourGrey
	case f.Reached:
		colour = colourGood
	}
	share := f.share()
	cut := share > barMost
	drawBar(c, left, max(2, barUnit*min(share, barMost)), colour, f.AtMost, cut)
	value, bound := f.measured(), "at least "
	if f.Baseline != 0 {
		value = f.ratio() + " (" + f.measured() + " to " + f.baseline() + ")"
	}
	if f.AtMost {
		bound = "at most "
	}
	_, reach, _ := strings.Cut(f.reach(), " ")
	c.text(left+barUnit*barMost+24, c.y+13, value+", "+bound+reach+": "+f.verdict())
}

// share is the length of a finding's bar: 1 is just at the reach.
func (f Found) share() float64 {
	if f.Reach <= 0 {
		return 0
	}
	return f.value() / f.Reach
}

// drawRuns draws each run's latencies, on one logarithmic scale.
func (r Report) drawRuns(c *canvas) {
	least, most := r.decades()
	const left = margin + 60
	at := func(v float64) float64 { return decade * max(0, math.Log10(max(v, 1e-3))-least) }
	c.paragraph("Latency from the time at which a message was (to be) sent; percentiles, logarithmic scale.", `fill="`+colourGrey+`"`)
	for _, run := range r.Runs {
		c.y += 14
		c.paragraph(run.Name, `font-weight="bold"`)
		c.paragraph(run.essence() + fmt.Sprintf("; %slost %d, duplicated %d, reordered %d", run.unknown(), run.Lost, run.Duplicated, run.Reordered))
		if run.Latency == nil {
			c.paragraph("no latency was measured", `fill="`+colourGrey+`"`)
			continue
		}
		c.y += 26
		top := c.y
		for d := least; d <= most; d++ {
			x := left + decade*(d-least)
			c.text(x, top-4, micros(math.Pow(10, d)), `text-anchor="middle"`, `font-size="11"`, `fill="`+colourGrey+`"`)
			c.line(x, top, x, top+5*(barHeight+3), `stroke="#ddd"`)
		}
		l := run.Latency
		for _, p := range []struct {
			name string
			v    float64
		}{{"p50", l.P50}, {"p90", l.P90}, {"p99", l.P99}, {"p99.9", l.P999}, {"max", l.Max}} {
			c.text(margin, c.y+13, p.name)
			c.bar(left, c.y, at(p.v), `fill="`+colourPlain+`"`)
			c.text(left+at(p.v)+6, c.y+13, micros(p.v))
			c.y += barHeight + 3
		}
	}
}

// decades returns the powers of ten, of microseconds, between which all
// latencies are.
func (r Report) decades() (least, most float64) {
	low, high := math.Inf(1), 1.0
	for _, run := range r.Runs {
		if run.Latency != nil {
			low, high = min(low, run.Latency.P50), max(high, run.Latency.Max)
		}
	}
	least = math.Floor(math.Log10(max(1, min(low, high))) - 0.05) // a bar is not to be of no length
	return max(0, least), math.Ceil(math.Log10(high))
}
