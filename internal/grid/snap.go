package grid

import "math"

// Snap returns the middle of the square in which a place is, where squares of so many
// metres divide the Earth. It is always the same one, so whoever sees it over and over
// learns no more of the place.
func Snap(lat, lon, metres float64) (float64, float64) {
	rows := max(1, math.Round(math.Pi*Radius/metres))
	high := 180 / rows
	row := min(rows-1, max(0, math.Floor((lat+90)/high)))
	lat = -90 + (row+0.5)*high
	columns := max(1, math.Round(2*math.Pi*Radius*math.Cos(lat*radians)/metres))
	wide := 360 / columns
	column := math.Mod(math.Floor((lon+180)/wide), columns)
	return lat, -180 + (column+0.5)*wide
}
