package grid

import (
	"math"
	"math/bits"
)

// MaxLevel is the level of the smallest cells, which are some 19 m high.
const MaxLevel = 20

// Cell is a part of the Earth. At each level the parallels divide it into rows of the
// same height, 2^level of them, and a row is divided into as many cells as make them
// at least as wide as they are high, and less than twice that: a power of two. Cells of
// one level do not overlap, and each lies in one of the level before.
type Cell uint64

// Edge is how near to the edge of a cell, in degrees, a place may be another one's.
const Edge = 1e-9

const (
	columnBits = 24
	rowBits    = 24
)

func makeCell(level int, row, column uint32) Cell {
	return Cell(level)<<(rowBits+columnBits) | Cell(row)<<columnBits | Cell(column)
}

// Level returns the cell's level: 0 to MaxLevel.
func (c Cell) Level() int { return int(c >> (rowBits + columnBits)) }

func (c Cell) row() uint32    { return uint32(c>>columnBits) & (1<<rowBits - 1) }
func (c Cell) column() uint32 { return uint32(c) & (1<<columnBits - 1) }

// Valid says whether there is such a cell.
func (c Cell) Valid() bool {
	l := c.Level()
	return l <= MaxLevel && c.row() < 1<<l && c.column() < columns(l, c.row())
}

// columns returns how many cells a row has.
func columns(level int, row uint32) uint32 {
	high := 180 / float64(uint64(1)<<level)
	south := -90 + float64(row)*high
	north := south + high
	nearest := 0.0 // to the equator
	if south > 0 {
		nearest = south
	} else if north < 0 {
		nearest = -north
	}
	round := 360 * math.Cos(nearest*radians) / high
	if round < 1 {
		return 1
	}
	return 1 << (bits.Len32(uint32(round)) - 1)
}

// CellAt returns the cell of a level in which a place is.
func CellAt(level int, lat, lon float64) Cell {
	row := rowAt(level, lat)
	return makeCell(level, row, columnAt(columns(level, row), lon))
}

func rowAt(level int, lat float64) uint32 {
	n := float64(uint64(1) << level)
	return uint32(min(n-1, max(0, math.Floor((lat+90)/180*n))))
}

func columnAt(of uint32, lon float64) uint32 {
	column := uint32(math.Floor((lon + 180) / 360 * float64(of)))
	if column == of && lon < 180 {
		column-- // it was rounded
	}
	return column & (of - 1)
}

// Box returns the cell as a box. Of a place on its edge, or within [Edge] degrees of it,
// CellAt says whose it is.
func (c Cell) Box() Box {
	high := 180 / float64(uint64(1)<<c.Level())
	wide := 360 / float64(columns(c.Level(), c.row()))
	south, west := -90+float64(c.row())*high, -180+float64(c.column())*wide
	return Box{west, south, west + wide, south + high}
}

// In says whether the cell lies in one of a level that is no finer, and returns that.
func (c Cell) In(level int) Cell {
	lat, lon := c.Box().Middle()
	return CellAt(level, lat, lon)
}

// Cover returns the cells, at most a number of them that is at least 8, in which a box
// lies: all of one level, the finest at which so few do.
func Cover(b Box, most int) []Cell {
	for level := MaxLevel; level > 0; level-- {
		first, last := rowAt(level, b.South), rowAt(level, b.North)
		if int(last-first) >= most {
			continue
		}
		if list := cover(b, level, first, last, most); list != nil {
			return list
		}
	}
	return cover(b, 0, 0, 0, 8)
}

// cover returns nil when there are too many.
func cover(b Box, level int, first, last uint32, most int) (list []Cell) {
	for row := first; row <= last; row++ {
		of := columns(level, row)
		n, from := of, uint32(0)
		if b.Width() < 360 {
			from = columnAt(of, b.West)
			n = (columnAt(of, b.East)-from)&(of-1) + 1
			if n == 1 && b.Width() > 180 && of > 1 {
				n = of // it begins and ends in the same one, and goes around
			}
		}
		if b.North == 90 && row == 1<<level-1 || b.South == -90 && row == 0 {
			n, from = of, 0 // the pole is in it, whose longitude is any
		}
		if len(list)+int(n) > most {
			return nil
		}
		for i := range n {
			list = append(list, makeCell(level, row, (from+i)&(of-1)))
		}
	}
	return list
}
