package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// checkUsage has each command refuse arguments that its usage line does not have, before
// anything else is done.
func checkUsage(command *cobra.Command) {
	switch {
	case command.Name() == "help":
		command.Args = helpArguments
	case command.HasParent():
		if !command.Runnable() { // cobra would show help, whatever the argument
			command.RunE = func(command *cobra.Command, _ []string) error { return command.Help() }
		}
		command.Args = arguments(command)
	}
	for _, sub := range command.Commands() {
		checkUsage(sub)
	}
}

// arguments takes what stands behind the name of a command in its usage line: NAME must
// be given, [NAME] may be, and NAME... may be several.
func arguments(command *cobra.Command) cobra.PositionalArgs {
	var names []string
	least, several := 0, false
	for _, word := range strings.Fields(command.Use)[1:] {
		if word[0] == '-' || word[0] == '(' || strings.HasPrefix(word, "[-") {
			break
		}
		several = several || strings.Contains(word, "...")
		if names = append(names, strings.Trim(word, "[].")); word[0] != '[' {
			least++
		}
	}
	return func(command *cobra.Command, args []string) error {
		name := strings.TrimPrefix(command.CommandPath(), command.Root().Name()+" ")
		switch {
		case len(args) < least:
			return fmt.Errorf("%s needs a %s", name, names[len(args)])
		case len(args) <= len(names) && len(args) > 0 && len(command.ValidArgs) > 0 && !slices.Contains(command.ValidArgs, args[0]):
			return fmt.Errorf("%s does not know %s: give one of %s", name, plain(args[0]), strings.Join(command.ValidArgs, ", "))
		case len(args) <= len(names) || several:
			return nil
		case command.HasSubCommands():
			return fmt.Errorf("there is no command %s %s", name, plain(args[0]))
		case len(names) == 0:
			return fmt.Errorf("%s takes no argument, and was given %s", name, plain(args[0]))
		}
		return fmt.Errorf("%s takes one %s, and was given %s too", name, strings.ReplaceAll(names[0], "|", " or "), plain(args[len(names)]))
	}
}

// helpArguments refuses what there is no help about.
func helpArguments(command *cobra.Command, args []string) error {
	_, rest, err := command.Root().Find(args)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("there is no command %s", plain(strings.Join(args, " ")))
	}
	return nil
}

// flagError says in plain words what is wrong with a flag.
func flagError(command *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var bare *pflag.ValueRequiredError
	var wrong *pflag.InvalidValueError
	var number *strconv.NumError
	var misspelled *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fmt.Errorf("%s has no flag -%s", command.Name(), unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		return fmt.Errorf("%s has no flag --%s", command.Name(), unknown.GetSpecifiedName())
	case errors.As(err, &bare):
		return fmt.Errorf("--%s needs a value", bare.GetFlag().Name)
	case errors.As(err, &wrong) && errors.As(err, &number):
		kind := map[string]string{"bool": "neither true nor false"}[wrong.GetFlag().Value.Type()]
		return fmt.Errorf("--%s %s: it is %s", wrong.GetFlag().Name, plain(wrong.GetValue()), cmp.Or(kind, "not a number"))
	case errors.As(err, &wrong):
		return fmt.Errorf("--%s %s: %w", wrong.GetFlag().Name, plain(wrong.GetValue()), wrong.Unwrap())
	case errors.As(err, &misspelled):
		return fmt.Errorf("%s is not a flag", plain(misspelled.GetSpecifiedFlag()))
	}
	return err
}

// cobraSays are the errors that cobra has no other place for than its text.
var cobraSays = []struct {
	pattern *regexp.Regexp
	plainly func(command string, words []string) string
}{
	{regexp.MustCompile(`^required flag\(s\) (.*) not set$`), func(command string, words []string) string {
		return command + " needs --" + strings.ReplaceAll(strings.ReplaceAll(words[1], `", "`, ", --"), `"`, "")
	}},
	{regexp.MustCompile(`^at least one of the flags in the group \[(.*)\] is required$`), func(command string, words []string) string {
		return command + " needs --" + strings.ReplaceAll(words[1], " ", " or --")
	}},
	{regexp.MustCompile(`^if any flags in the group .*; \[(.*)\] were all set$`), func(_ string, words []string) string {
		return "give only one of --" + strings.ReplaceAll(words[1], " ", " and --")
	}},
	{regexp.MustCompile(`(?s)^unknown command (".*") for "wildkey"(?:.*Did you mean this\?\s+(\S+).*)?`), func(_ string, words []string) string {
		if words[2] != "" {
			return fmt.Sprintf("there is no command %s; did you mean %s?", words[1], words[2])
		}
		return "there is no command " + words[1]
	}},
}

// usageSentence returns an error of the command line in plain words.
func usageSentence(command *cobra.Command, text string) string {
	for _, says := range cobraSays {
		if words := says.pattern.FindStringSubmatch(text); words != nil {
			return says.plainly(command.Name(), words)
		}
	}
	return text
}
