package luatest

import "strings"

// bitField is an integer of some bits, as BITFIELD's i8 and u12 describe it.
type bitField struct {
	signed bool
	width  int64
}

func parseBitField(s string) (bitField, Error) {
	const invalid Error = "ERR Invalid bitfield type. Use something like i16 u8. " +
		"Note that u64 is not supported but i64 is."
	s = cString(s)
	if s == "" || s[0] != 'i' && s[0] != 'u' {
		return bitField{}, invalid
	}
	f := bitField{signed: s[0] == 'i'}
	var ok bool
	f.width, ok = parseInt(s[1:])
	if !ok || f.width < 1 || f.width > 64 || f.width == 64 && !f.signed {
		return bitField{}, invalid
	}
	return f, ""
}

// limits are the least and the greatest number that the field can hold.
func (f bitField) limits() (least, greatest int64) {
	if f.signed {
		greatest = 1<<(f.width-1) - 1
		return -greatest - 1, greatest
	}
	return 0, 1<<f.width - 1
}

// wrap leaves as many bits of x as the field has.
func (f bitField) wrap(x int64) int64 {
	rest := 64 - f.width
	if f.signed {
		return x << rest >> rest
	}
	return int64(uint64(x) << rest >> rest)
}

// sum adds by to value. What does not fit into the field is treated as overflow
// says, which may be to fail.
func (f bitField) sum(value, by int64, overflow string) (int64, bool) {
	least, greatest := f.limits()
	sum, fits := addInt(value, by)
	// To a field without a sign, a negative value is a very large one.
	above := !fits && by > 0 || fits && sum > greatest || !f.signed && value < 0
	below := !above && (!fits || sum < least)
	switch {
	case !above && !below:
		return sum, true
	case overflow == "FAIL":
		return 0, false
	case overflow == "WRAP":
		return f.wrap(value + by), true
	case above:
		return greatest, true
	}
	return least, true
}

func (f bitField) read(b []byte, offset int64) int64 {
	var x int64
	for i := range f.width {
		x = x<<1 | bitAt(b, offset+i)
	}
	return f.wrap(x)
}

func (f bitField) write(b []byte, offset, x int64) {
	for i := range f.width {
		putBit(b, offset+i, x>>(f.width-1-i)&1)
	}
}

// bitFieldStep is one of the things that BITFIELD is asked to do.
type bitFieldStep struct {
	verb     string
	field    bitField
	offset   int64
	operand  int64
	overflow string
}

// parseBitFieldStep reads a step at the beginning of args, and returns how many
// of them it is. OVERFLOW is none by itself.
func parseBitFieldStep(args []string) (step bitFieldStep, used int, invalid Error) {
	step.verb = strings.ToUpper(args[0])
	used = map[string]int{"GET": 3, "SET": 4, "INCRBY": 4}[step.verb]
	if used == 0 || len(args) < used {
		return step, 0, errSyntax
	}
	if step.field, invalid = parseBitField(args[1]); invalid != "" {
		return step, 0, invalid
	}
	if step.offset, invalid = parseBitOffset(args[2], step.field.width); invalid != "" {
		return step, 0, invalid
	}
	if step.verb != "GET" {
		var ok bool
		if step.operand, ok = parseInt(args[3]); !ok {
			return step, 0, errNotInt
		}
	}
	return step, used, ""
}

// run does the step on bytes that are long enough, and returns its reply.
func (s bitFieldStep) run(bytes []byte) any {
	old := s.field.read(bytes, s.offset)
	base, by := old, s.operand
	switch s.verb {
	case "GET":
		return old
	case "SET":
		base, by = s.operand, 0
	}
	x, ok := s.field.sum(base, by, s.overflow)
	if !ok {
		return nil
	}
	s.field.write(bytes, s.offset, x)
	if s.verb == "SET" {
		return old
	}
	return x
}

func (e *Engine) bitField(args []string, readOnly bool) any {
	var steps []bitFieldStep
	overflow := "WRAP"
	size := int64(0) // of the string that the writes need, 0 if there are none
	for rest := args[2:]; len(rest) > 0; {
		if strings.EqualFold(rest[0], "OVERFLOW") && len(rest) > 1 {
			overflow = strings.ToUpper(rest[1])
			if overflow != "WRAP" && overflow != "SAT" && overflow != "FAIL" {
				return Error("ERR Invalid OVERFLOW type specified")
			}
			rest = rest[2:]
			continue
		}
		step, used, invalid := parseBitFieldStep(rest)
		if invalid != "" {
			return invalid
		}
		step.overflow = overflow
		if step.verb != "GET" {
			size = max(size, (step.offset+step.field.width-1)>>3+1)
		}
		steps = append(steps, step)
		rest = rest[used:]
	}
	if readOnly && size > 0 {
		return Error("ERR BITFIELD_RO only supports the GET subcommand")
	}
	found, wrong := e.keys.findKind(args[1], stringKind)
	if wrong != "" {
		return wrong
	}
	if found == nil && size > 0 {
		found = e.keys.setString(args[1], "")
	}
	var bytes []byte
	if found != nil {
		bytes = grown(found.str, int(size))
	}
	replies := make([]any, len(steps))
	for i, step := range steps {
		replies[i] = step.run(bytes)
	}
	if size > 0 {
		found.setRaw(string(bytes))
	}
	return replies
}

// bitFieldNeeds is what the key of BITFIELD must permit: it is written unless
// all that is asked for is GET.
func bitFieldNeeds(args []string) permission {
	for rest := args[min(2, len(args)):]; len(rest) > 0; {
		switch verb := strings.ToUpper(rest[0]); {
		case verb == "GET" && len(rest) > 2:
			rest = rest[3:]
		case verb == "OVERFLOW" && len(rest) > 1:
			rest = rest[2:]
		default:
			return mayRead | mayWrite
		}
	}
	return mayRead
}
