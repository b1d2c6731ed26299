package vm

import "bytes"

const classMax = 255

// Glob is gd_glob_match of src/region/glob.h: * ? [a-z] [!a-z] \x over bytes, the whole text must match. Never exponential.
func Glob(pattern, text []byte) bool {
	work := uint32(1<<32 - 1)
	return glob(pattern, text, &work)
}

// glob takes at most *work steps, else it is false.
func glob(pattern, text []byte, work *uint32) bool {
	p, t, star, starText := 0, 0, -1, 0
	for {
		if *work == 0 {
			return false
		}
		*work--
		if p < len(pattern) {
			c := pattern[p]
			if c == '*' {
				p++
				star, starText = p, t
				if p == len(pattern) {
					return true
				}
				continue
			}
			if t < len(text) {
				switch c {
				case '?':
					p, t = p+1, t+1
					continue
				case '[':
					hit, next := globClass(pattern, p, text[t], work)
					if next > 0 && hit {
						p, t = next, t+1
						continue
					}
					if next < 0 && text[t] == '[' {
						p, t = p+1, t+1
						continue
					}
				default:
					if c == '\\' && p+1 < len(pattern) {
						p++
						c = pattern[p]
					}
					if c == text[t] {
						p, t = p+1, t+1
						continue
					}
				}
			}
		} else if t == len(text) {
			return true
		}
		if star < 0 || starText >= len(text) {
			return false
		}
		starText++
		if c := pattern[star]; c != '?' && c != '[' && c != '\\' && c != '*' {
			// only where the byte behind the * stands is it worth another try
			skip := bytes.IndexByte(text[starText:], c)
			if skip < 0 || uint32(skip) > *work {
				return false
			}
			*work -= uint32(skip)
			starText += skip
		}
		p, t = star, starText
	}
}

// globClass matches c against the class behind the '[' at p[i]; next is where the pattern goes on, negative when it is no class.
func globClass(p []byte, i int, c byte, work *uint32) (hit bool, next int) {
	if len(p)-i > classMax {
		p = p[:i+classMax]
	}
	at := i + 1
	not := at < len(p) && (p[at] == '!' || p[at] == '^')
	if not {
		at++
	}
	for first := at; at < len(p); at++ {
		if *work == 0 {
			return false, 1
		}
		*work--
		low := p[at]
		if low == ']' && at > first {
			return hit != not, at + 1
		}
		if low == '\\' && at+1 < len(p) {
			at++
			low = p[at]
		}
		high := low
		if len(p)-at > 2 && p[at+1] == '-' && p[at+2] != ']' {
			at += 2
			high = p[at]
			if high == '\\' && at+1 < len(p) {
				at++
				high = p[at]
			}
		}
		hit = hit || low <= c && c <= high
	}
	return false, -1
}
