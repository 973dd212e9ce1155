package wildkey

// TermArguments returns the terms of a pattern as match.lua takes them.
func TermArguments(p Pattern) []string {
	var arguments []string
	for _, term := range p.terms {
		arguments = append(arguments, term.argument)
	}
	return arguments
}
