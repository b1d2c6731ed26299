package gander

// globMatch is gd_glob_match of src/region/glob.c: * ? [a-z] [!a-z] \x over bytes, the whole text must match.
func globMatch(pattern, text []byte) bool {
	p, t, star, starText := 0, 0, -1, 0
	for {
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
					hit, next := globClass(pattern, p, text[t])
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
		p = star
		starText++
		t = starText
	}
}

// globClass matches c against the class behind the '[' at p[i]; next is where the pattern goes on, negative when the class
// is not closed within 255 bytes.
func globClass(p []byte, i int, c byte) (hit bool, next int) {
	if len(p)-i > 255 {
		p = p[:i+255]
	}
	at := i + 1
	not := at < len(p) && (p[at] == '!' || p[at] == '^')
	if not {
		at++
	}
	for first := at; at < len(p); at++ {
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
