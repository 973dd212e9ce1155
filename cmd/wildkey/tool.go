package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wildkey/wildkey"
)

// tool is one run of the program: its streams and what its flags say.
type tool struct {
	in         io.Reader
	out        *bufio.Writer
	errOut     io.Writer
	isTerminal func(stream any) bool
	stdout     io.Writer // beneath out

	url           string // empty: that of the environment
	askPassword   bool
	cert          string
	key           string
	cacert        string
	namespace     string
	shards        int
	shardSegments int
	json          bool
	preloaded     bool

	started bool // the command line was right, and its command has begun
}

func newTool(in io.Reader, out, errOut io.Writer) *tool {
	return &tool{
		in: in, out: bufio.NewWriter(out), errOut: errOut, stdout: out, isTerminal: isTerminal,
		shards: 1, shardSegments: 1,
	}
}

// run does what the arguments say and returns the exit code.
func (t *tool) run(ctx context.Context, args []string) int {
	root := t.command()
	root.SetArgs(args)
	root.SetOut(t.out)
	root.SetErr(t.errOut)
	command, err := root.ExecuteContextC(ctx)
	err = cmp.Or(err, t.out.Flush())
	code := exitCode(ctx, err, t.started)
	if code == exitInterrupted {
		err = interrupted(err)
	}
	if err != nil {
		text := plainly(err, t.server(), true)
		if code == exitUsage {
			text = usageSentence(command, text)
		}
		fmt.Fprint(t.errOut, hanging(t.styled(t.errOut, alarm, "wildkey:")+" ", 9, "", visible(text), t.width(t.errOut)))
	}
	if code == exitUsage {
		fmt.Fprintf(t.errOut, "See: %s --help\n", command.CommandPath())
	}
	return code
}

func (t *tool) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "wildkey",
		Short: "Look after the records of a Wildkey namespace on a Redis server",
		Long: `Look after the records of a Wildkey namespace on a Redis server.

A KEY is encoded: its segments are percent-encoded and joined by colons, as in
user:42:e-mail:ann%40example.com. A PATTERN has a term for each segment:

  session          this segment
  2024-*           segments that begin with 2024-
  *.png            segments that end in .png
  2024-03<2024-06  segments in this range
  *                any segment
  **               any number of segments, at the end only

Quote patterns, or the shell may expand them.

` + urlHelp + `

` + exitCodesHelp,
		Version:           ownVersion().String(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: fromEnvironment,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&t.url, "url", "",
		"URL of the server, without a password; or $REDIS_URL (default \""+defaultURL+"\")")
	flags.BoolVar(&t.askPassword, "askpass", false, "ask for the password on the terminal; or $REDISCLI_AUTH")
	flags.StringVar(&t.cert, "cert", "", "client certificate, a PEM file; or $WILDKEY_CERT")
	flags.StringVar(&t.key, "key", "", "private key of the client certificate, a PEM file; or $WILDKEY_KEY")
	flags.StringVar(&t.cacert, "cacert", "",
		"authorities to trust instead of those of the system, a PEM file; or $WILDKEY_CACERT")
	flags.StringVarP(&t.namespace, "namespace", "n", "cache", "namespace of the records; or $WILDKEY_NAMESPACE")
	flags.Var(&atLeastOne{&t.shards, maxShards}, "shards",
		"number of shards, the same as that of the clients; or $WILDKEY_SHARDS")
	flags.Var(&atLeastOne{&t.shardSegments, maxSegments}, "shard-segments",
		"number of leading segments that choose the shard of a key; or $WILDKEY_SHARD_SEGMENTS")
	flags.BoolVar(&t.json, "json", false, "write JSON, one object a line")
	flags.BoolVar(&t.preloaded, "preloaded", false, "never load a script; fail if the server lacks one")
	for _, group := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Records:", []*cobra.Command{
			t.lsCommand(), t.countCommand(), t.getCommand(), t.putCommand(), t.touchCommand(), t.rmCommand(),
			t.exportCommand(), t.importCommand(), t.reshardCommand(),
		}},
		{"Keys:", []*cobra.Command{t.encodeCommand(), t.decodeCommand()}},
		{"Care:", []*cobra.Command{
			t.doctorCommand(), t.checkCommand(), t.topCommand(), t.duCommand(), t.sweepCommand(), t.reindexCommand(), t.scriptsCommand(),
		}},
	} {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, command := range group.commands {
			command.GroupID = group.title
			root.AddCommand(command)
		}
	}
	root.AddCommand(t.versionCommand())
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.SetVersionTemplate("{{.Version}}\n")
	cobra.EnableCommandSorting = false
	t.complete(root)
	root.SetFlagErrorFunc(flagError)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	checkUsage(root)
	return root
}

// access says what a command may do to the records.
type access bool

const (
	// reading leaves everything as it is, stale index entries too.
	reading access = false
	writing access = true
)

// work is what a command does, once connected.
type work func(ctx context.Context, s *session, args []string) error

// on returns a cobra RunE that connects and then does the work.
func (t *tool) on(access access, work work) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		t.started = true
		s, err := t.connect(command.Context(), access)
		if err != nil {
			return err
		}
		defer s.close()
		return t.placed(command.Context(), s, work(command.Context(), s, args))
	}
}

// patternArgument returns the pattern that the argument is, or that of all records.
func patternArgument(args []string) (wildkey.Pattern, error) {
	if len(args) == 0 {
		return wildkey.NewPattern(wildkey.Rest())
	}
	pattern, err := wildkey.ParsePattern(args[0])
	return pattern, usageError(err)
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
