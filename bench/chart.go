package main

import (
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// chart draws one metric of several lines, those whose names begin with lines; or
// of one line the points on the way.
type chart struct {
	file, title, x, y string
	lines             string
	metric            metric
	logX, logY        bool // where values span decades; other axes of y begin at zero
}

var charts = []chart{
	{"match-by-size.svg", "user:*:session:*, the same matches in ever more records", "records in the namespace", "wall time, ms", "size-", wallMs, true, true},
	{"user-by-size.svg", "One user's sessions in ever more records", "records in the namespace", "wall time, µs a session", "user-", wallUs, true, false},
	{"live-by-puts.svg", "New records without end, into little memory", "records put", "live records", "full-volatile-lru", liveRecs, false, false},
	{"put-by-depth.svg", "Put of one record by the depth of its key", "segments of the key", "server CPU, µs a record", "depth-", cpuUs, false, false},
}

// Colours that stay apart for the colour-blind, and a shape for each as well.
var (
	colours = []color.Color{
		color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
		color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff}, color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
	}
	shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{}}
)

// series is what one contender has in a chart.
type series struct {
	name         string
	points, dots plotter.XYs // dots mark what was measured, or where it failed
	failed       string
}

// series of a chart, of those contenders that belong there: no other version of
// Wildkey does.
func (b *bench) series(c chart) (all []*series) {
	byName := map[string]*series{nameBefore: {}, nameAscending: {}}
	for _, result := range b.results {
		if !strings.HasPrefix(result.Line, c.lines) {
			continue
		}
		for _, row := range result.Rows {
			one := byName[row.Name]
			if one == nil {
				one = &series{name: row.Name, failed: row.Failed}
				byName[row.Name], all = one, append(all, one)
			}
			for _, point := range row.Points {
				one.points = append(one.points, plotter.XY{X: float64(point.Puts), Y: float64(point.Live)})
			}
			if len(row.Points) == 0 {
				one.points = append(one.points, plotter.XY{X: result.X, Y: row.summary(c.metric).median})
				one.dots = one.points
			} else if row.Failed != "" {
				one.dots = one.points[len(one.points)-1:]
			}
		}
	}
	return all
}

// draw writes the chart, or says that the run has not measured enough for it.
func (b *bench) draw(c chart, path string) (bool, error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	all := b.series(c)
	if len(all) == 0 || len(all[0].points) < 2 {
		return false, nil
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.x, c.y
	p.Title.Padding, p.X.Padding, p.Y.Padding = vg.Points(8), vg.Points(4), vg.Points(4)
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(3)
	p.Legend.XOffs = vg.Points(10)
	p.Add(plotter.NewGrid())
	var top float64
	for i, one := range all {
		line, err := plotter.NewLine(one.points)
		if err != nil {
			return false, err
		}
		line.Color, line.Width = colours[i%len(colours)], vg.Points(2)
		p.Add(line)
		thumbnails := []plot.Thumbnailer{line}
		if len(one.dots) > 0 {
			dots, err := plotter.NewScatter(one.dots)
			if err != nil {
				return false, err
			}
			dots.Color, dots.Shape, dots.Radius = line.Color, shapes[i%len(shapes)], vg.Points(3.5)
			p.Add(dots)
			thumbnails = append(thumbnails, dots)
		}
		name := one.name
		if one.failed != "" {
			name += ": " + one.failed
		}
		p.Legend.Add(name, thumbnails...)
		for _, point := range one.points {
			top = max(top, point.Y)
		}
	}
	var xs []float64
	for _, point := range all[0].points {
		xs = append(xs, point.X)
	}
	if len(xs) > 10 {
		last := xs[len(xs)-1]
		xs = []float64{0, last / 6, last / 3, last / 2, last * 2 / 3, last * 5 / 6, last}
	}
	p.X.Tick.Marker = ticksAt(xs)
	if c.logX {
		p.X.Scale, p.X.Min, p.X.Max = plot.LogScale{}, p.X.Min/1.2, p.X.Max*1.2
	} else {
		p.X.Min, p.X.Max = p.X.Min-0.3, p.X.Max+0.3
	}
	// Above the lines there must be room for the legend.
	if c.logY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
		p.Y.Min, p.Y.Max = math.Pow10(int(math.Floor(math.Log10(p.Y.Min)))), top*20
	} else {
		p.Y.Min, p.Y.Max = 0, top*1.35
	}
	return true, p.Save(18*vg.Centimeter, 11*vg.Centimeter, path)
}

// ticksAt marks just the places that were measured.
type ticksAt []float64

func (t ticksAt) Ticks(_, _ float64) (ticks []plot.Tick) {
	for _, x := range t {
		ticks = append(ticks, plot.Tick{Value: x, Label: thousands(int(x))})
	}
	return ticks
}

// decades marks the powers of ten, and between them 2 to 9 without a label.
type decades struct{}

func (decades) Ticks(low, high float64) (ticks []plot.Tick) {
	for power := range 9 {
		decade := math.Pow10(power)
		for digit := 1.0; digit < 10; digit++ {
			if value := digit * decade; value >= low && value <= high {
				label := ""
				if digit == 1 {
					label = thousands(int(value))
				}
				ticks = append(ticks, plot.Tick{Value: value, Label: label})
			}
		}
	}
	return ticks
}
