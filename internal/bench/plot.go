package main

import (
	"fmt"
	"math"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// plotLatencies draws the open loop's latencies over their percentiles, and the closed loop's throughput, as one SVG.
func plotLatencies(path string, waited, loaded []*contender) error {
	latencies := plot.New()
	latencies.Title.Text = "Latency at a steady rate"
	latencies.X.Label.Text, latencies.Y.Label.Text = "percentile", "ms"
	latencies.Y.Scale, latencies.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	latencies.X.Tick.Marker = plot.ConstantTicks{
		{Value: nines(50), Label: "50"}, {Value: nines(90), Label: "90"}, {Value: nines(99), Label: "99"}, {Value: nines(99.9), Label: "99.9"},
	}
	latencies.Legend.Top, latencies.Legend.Left = true, true
	latencies.Y.Max = 20_000 // room for the legend
	for i, c := range waited {
		var points plotter.XYs
		for x := nines(10); x <= nines(99.95); x += 0.05 {
			p := 100 * (1 - math.Pow(10, -x))
			points = append(points, plotter.XY{X: x, Y: float64(c.latencies.ValueAtPercentile(p)) / 1000})
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return fmt.Errorf("drawing: %w", err)
		}
		line.Color, line.Width = plotutil.Color(i), vg.Points(1.5)
		latencies.Add(line)
		latencies.Legend.Add(c.server.name, line)
	}

	throughput := plot.New()
	throughput.Title.Text = "Throughput, closed loop"
	throughput.X.Label.Text, throughput.X.Min = "thousand requests/s", 0
	var names []string
	var bars plotter.Values
	for _, c := range loaded {
		names = append(names, c.server.name)
		bars = append(bars, c.column(func(_ int, x sample) float64 { return x.rate() }).median/1000)
	}
	chart, err := plotter.NewBarChart(bars, vg.Points(24))
	if err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	chart.Horizontal, chart.Color = true, plotutil.Color(1)
	throughput.Add(chart)
	throughput.NominalY(names...)

	canvas := vgsvg.New(9*vg.Inch, 4*vg.Inch)
	tiles := draw.Tiles{Rows: 1, Cols: 2, PadX: vg.Points(12), PadTop: vg.Points(6), PadBottom: vg.Points(6), PadLeft: vg.Points(6), PadRight: vg.Points(6)}
	placed := plot.Align([][]*plot.Plot{{latencies, throughput}}, tiles, draw.New(canvas))
	latencies.Draw(placed[0][0])
	throughput.Draw(placed[0][1])
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	if _, err := canvas.WriteTo(file); err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	return file.Close()
}

// nines is how many nines a percentile has: 90 is 1, 99 is 2.
func nines(percentile float64) float64 { return -math.Log10(1 - percentile/100) }
