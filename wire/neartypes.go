package wire

// The names of the frames about positions.
const (
	NamePosition       = "POSITION"
	NamePositionHide   = "POSITION_HIDE"
	NameNearbyWatch    = "NEARBY_WATCH"
	NameNearbyUnwatch  = "NEARBY_UNWATCH"
	NamePositionHidden = "POSITION_HIDDEN"
	NameNearby         = "NEARBY"
	NameNearbyEnter    = "NEARBY_ENTER"
	NameNearbyMove     = "NEARBY_MOVE"
	NameNearbyLeave    = "NEARBY_LEAVE"
)

// nearTypes returns the names of the types from TypePosition on, in their order.
func nearTypes() [TypeNearbyLeave - TypePosition + 1]string {
	return [...]string{
		NamePosition, NamePositionHide, NameNearbyWatch, NameNearbyUnwatch,
		NamePositionHidden, NameNearby, NameNearbyEnter, NameNearbyMove, NameNearbyLeave,
	}
}

// OfPositions says whether frames of this type are about positions.
func (t Type) OfPositions() bool { return t >= TypePosition && t <= TypeNearbyLeave }

// PositionType returns the type of a frame about positions, TypeUnknown for other names.
func PositionType(name []byte) Type {
	for i, known := range nearTypes() {
		if string(name) == known {
			return TypePosition + Type(i)
		}
	}
	return TypeUnknown
}
