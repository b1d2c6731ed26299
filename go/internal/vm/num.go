package vm

import (
	"math"
	"math/bits"
)

// num is struct gd_num: an integer from -2^63 to 2^64 - 1, or a double. Integers are exact: what does not fit is no value.
type num struct {
	kind uint32
	bits uint64
}

const (
	numNone = iota
	numI64
	numU64
	numF64
)

const (
	relEQ = iota
	relNE
	relLT
	relLE
	relGT
	relGE
)

const (
	arithAdd = iota
	arithSub
	arithMul
	arithDiv
	arithMod
	arithAnd
	arithOr
	arithXor
	arithShl
	arithShr
)

// wide is an integer as sign and magnitude.
type wide struct {
	minus bool
	mag   uint64
}

func (x num) integer() bool { return x.kind == numI64 || x.kind == numU64 }

func (x num) wide() wide {
	if x.kind == numI64 && x.bits>>63 != 0 {
		return wide{true, -x.bits}
	}
	return wide{false, x.bits}
}

func (x num) float() float64 {
	switch x.kind {
	case numF64:
		return math.Float64frombits(x.bits)
	case numI64:
		return float64(int64(x.bits))
	}
	return float64(x.bits)
}

func fromWide(minus bool, mag uint64) num {
	if minus {
		if mag > 1<<63 {
			return num{}
		}
		return num{numI64, -mag}
	}
	if mag>>63 != 0 {
		return num{numU64, mag}
	}
	return num{numI64, mag}
}

func compareWide(x, y wide) int {
	if x.minus != y.minus {
		if x.minus {
			return -1
		}
		return 1
	}
	if x.mag == y.mag {
		return 0
	}
	if (x.mag < y.mag) != x.minus {
		return -1
	}
	return 1
}

// compareMixed compares by the double's integral part, then by its fraction.
func compareMixed(x wide, d float64) int {
	if d != d {
		return 2
	}
	if d >= 1<<64 {
		return -1
	}
	if d < -1<<63 {
		return 1
	}
	far := math.Abs(d)
	whole := wide{d < 0, wholePart(far)}
	if whole.mag == 0 {
		whole.minus = false
	}
	if r := compareWide(x, whole); r != 0 {
		return r
	}
	if far == float64(whole.mag) {
		return 0
	}
	if d < 0 {
		return 1
	}
	return -1
}

// wholePart is the integral part of a double from 0 up to below 2^64; a conversion beyond 2^63 is not the same everywhere.
func wholePart(d float64) uint64 {
	if d >= 1<<63 {
		return uint64(int64(d-1<<63)) + 1<<63
	}
	return uint64(int64(d))
}

// compare is gd_num_compare: less, equal, greater, neither are -1, 0, 1, 2.
func compare(x, y num) int {
	switch {
	case x.integer() && y.integer():
		return compareWide(x.wide(), y.wide())
	case x.integer():
		return compareMixed(x.wide(), y.float())
	case y.integer():
		r := compareMixed(y.wide(), x.float())
		if r == 2 {
			return r
		}
		return -r
	}
	switch dx, dy := x.float(), y.float(); {
	case dx < dy:
		return -1
	case dx > dy:
		return 1
	case dx == dy:
		return 0
	}
	return 2
}

func holds(rel uint8, x, y num) bool {
	if x.kind-1 >= numF64 || y.kind-1 >= numF64 {
		return false
	}
	r := compare(x, y)
	switch rel {
	case relEQ:
		return r == 0
	case relNE:
		return r != 0
	case relLT:
		return r == -1
	case relLE:
		return r == -1 || r == 0
	case relGT:
		return r == 1
	case relGE:
		return r == 1 || r == 0
	}
	return false
}

func floatArith(arith uint8, x, y float64) num {
	switch arith {
	case arithAdd:
		x += y
	case arithSub:
		x -= y
	case arithMul:
		x *= y
	case arithDiv:
		if y == 0 {
			return num{}
		}
		x /= y
	default:
		return num{}
	}
	return num{numF64, math.Float64bits(x)}
}

func addWide(x, y wide) num {
	if x.minus == y.minus {
		sum, carry := bits.Add64(x.mag, y.mag, 0)
		if carry != 0 {
			return num{}
		}
		return fromWide(x.minus, sum)
	}
	if x.mag >= y.mag {
		return fromWide(x.minus && x.mag != y.mag, x.mag-y.mag)
	}
	return fromWide(y.minus, y.mag-x.mag)
}

// arithmetic is gd_num_arith.
func arithmetic(arith uint8, x, y num) num {
	if x.kind-1 >= numF64 || y.kind-1 >= numF64 {
		return num{}
	}
	if !x.integer() || !y.integer() {
		return floatArith(arith, x.float(), y.float())
	}
	wx, wy := x.wide(), y.wide()
	r := num{kind: numU64}
	if wx.minus || wy.minus {
		r.kind = numI64
	}
	switch arith {
	case arithAdd:
		return addWide(wx, wy)
	case arithSub:
		wy.minus = !wy.minus && wy.mag != 0
		return addWide(wx, wy)
	case arithMul, arithShl:
		if arith == arithShl {
			if wy.minus || wy.mag > 63 {
				return num{}
			}
			wy.mag = 1 << wy.mag
		}
		high, mag := bits.Mul64(wx.mag, wy.mag)
		if high != 0 {
			return num{}
		}
		return fromWide(wx.minus != wy.minus && mag != 0, mag)
	case arithDiv:
		if wy.mag == 0 {
			return num{}
		}
		mag := wx.mag / wy.mag
		return fromWide(wx.minus != wy.minus && mag != 0, mag)
	case arithMod:
		if wy.mag == 0 {
			return num{}
		}
		mag := wx.mag % wy.mag
		return fromWide(wx.minus && mag != 0, mag)
	case arithShr:
		if wy.minus || wy.mag > 63 {
			return num{}
		}
		if wx.minus {
			return num{x.kind, uint64(int64(x.bits) >> wy.mag)}
		}
		return num{x.kind, x.bits >> wy.mag}
	case arithAnd:
		r.bits = x.bits & y.bits
	case arithOr:
		r.bits = x.bits | y.bits
	case arithXor:
		r.bits = x.bits ^ y.bits
	default:
		return num{}
	}
	return r
}
