package luatest

// globMatch reports whether s matches a Redis glob: * ? [a-z] [^a] and \x.
func globMatch(pattern, s string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			for pattern != "" && pattern[0] == '*' {
				pattern = pattern[1:]
			}
			if pattern == "" {
				return true
			}
			for ; ; s = s[1:] {
				if globMatch(pattern, s) {
					return true
				}
				if s == "" {
					return false
				}
			}
		case '?':
			if s == "" {
				return false
			}
			pattern, s = pattern[1:], s[1:]
		case '[':
			if s == "" {
				return false
			}
			matched, rest := globClass(pattern[1:], s[0])
			if !matched {
				return false
			}
			pattern, s = rest, s[1:]
		default:
			if pattern[0] == '\\' && len(pattern) > 1 {
				pattern = pattern[1:]
			}
			if s == "" || pattern[0] != s[0] {
				return false
			}
			pattern, s = pattern[1:], s[1:]
		}
	}
	return s == ""
}

// globClass matches c against the class that pattern begins with, its opening
// bracket already taken off, and returns what follows the class. A class that
// is never closed ends with the pattern.
func globClass(pattern string, c byte) (matched bool, rest string) {
	negated := pattern != "" && pattern[0] == '^'
	if negated {
		pattern = pattern[1:]
	}
	for pattern != "" && pattern[0] != ']' {
		switch {
		case pattern[0] == '\\' && len(pattern) >= 2:
			matched = matched || pattern[1] == c
			pattern = pattern[2:]
		case len(pattern) >= 3 && pattern[1] == '-':
			low, high := min(pattern[0], pattern[2]), max(pattern[0], pattern[2])
			matched = matched || low <= c && c <= high
			pattern = pattern[3:]
		default:
			matched = matched || pattern[0] == c
			pattern = pattern[1:]
		}
	}
	if pattern != "" {
		pattern = pattern[1:]
	}
	return matched != negated, pattern
}
