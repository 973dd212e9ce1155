package luatest_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

// docTables returns the tables in the package's documentation: rows of cells,
// by the line of text before the table.
func docTables(t *testing.T) map[string][][]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][][]string{}
	var above, table string
	for _, line := range strings.Split(docText(file), "\n") {
		row, isRow := strings.CutPrefix(line, "\t")
		switch {
		case !isRow:
			if line != "" {
				above = line
			}
			table = ""
		case table == "":
			table = above
			fallthrough
		default:
			var cells []string
			for _, cell := range strings.Split(row, " | ") {
				cells = append(cells, strings.TrimSpace(cell))
			}
			tables[table] = append(tables[table], cells)
		}
	}
	return tables
}

func docText(file *ast.File) string {
	var text strings.Builder
	for _, comment := range file.Doc.List {
		text.WriteString(strings.TrimPrefix(strings.TrimPrefix(comment.Text, "//"), " ") + "\n")
	}
	return text.String()
}

// listed returns the names in a table whose rows are a word and names.
func listed(t *testing.T, table [][]string) []string {
	t.Helper()
	var names []string
	for _, row := range table {
		names = append(names, strings.Fields(row[0])[1:]...)
	}
	if len(names) == 0 {
		t.Fatal("the documentation has no such table")
	}
	slices.Sort(names)
	return names
}

func TestDocListsGlobals(t *testing.T) {
	documented := listed(t, docTables(t)["errors, with the line, as a client and as pcall see them:"])
	var globals []string
	const source = "local names = {} for name in pairs(_G) do names[#names + 1] = name end table.sort(names) return names"
	for _, name := range luatest.New().Do("EVAL", source, "0").([]any) {
		globals = append(globals, name.(string))
	}
	if diff := cmp.Diff(globals, documented); diff != "" {
		t.Errorf("globals: (-engine +doc.go)\n%s", diff)
	}
}

func TestDocListsCommands(t *testing.T) {
	documented := listed(t, docTables(t)["Commands have the options, arities and errors of Redis:"])
	var names []string
	for _, name := range commandNames() {
		name, _, _ = strings.Cut(name, "|")
		names = append(names, strings.ToUpper(name))
	}
	slices.Sort(names)
	if diff := cmp.Diff(slices.Compact(names), documented); diff != "" {
		t.Errorf("commands: (-engine +doc.go)\n%s", diff)
	}
}

// docCommand is a row's first cell as a command: one that begins in capitals
// is one itself, anything else is a script.
func docCommand(cell string) []string {
	word, _, _ := strings.Cut(cell, " ")
	if word == strings.ToUpper(word) && 'A' <= word[0] && word[0] <= 'Z' {
		return strings.Fields(cell)
	}
	return []string{"EVAL", cell, "0"}
}

// isReply reports whether a reply, as it came over the wire, is what a table
// shows: part of an error, or the whole of any other reply.
func isReply(wire, shown string) bool {
	text := strings.TrimSuffix(wire, "\r\n")
	switch wire[0] {
	case '-':
		return strings.Contains(text, shown)
	case '$':
		if text == "$-1" {
			return shown == "nil"
		}
		_, text, _ = strings.Cut(text, "\r\n")
		return text == shown
	}
	return text[1:] == shown
}

func TestDocListsWhatIsNotModelled(t *testing.T) {
	table := docTables(t)["A command, or a script, on the left, and what the engine answers, in part:"]
	if len(table) == 0 {
		t.Fatal("the documentation has no such table")
	}
	for _, row := range table {
		failed, ok := luatest.New().Do(docCommand(row[0])...).(luatest.Error)
		if !ok || !strings.Contains(string(failed), row[1]) {
			t.Errorf("%s\nreplies %v\nand should fail with %s", row[0], failed, row[1])
		}
	}
}

func TestDocListsWhatDiffers(t *testing.T) {
	table := docTables(t)["then what Redis answers, then what the engine does."]
	if len(table) == 0 {
		t.Fatal("the documentation has no such table")
	}
	for _, row := range table {
		reply := string(luatest.AppendReply(nil, luatest.New().Do(docCommand(row[0])...)))
		if !isReply(reply, row[2]) {
			t.Errorf("%s\nreplies %q\nand should reply %s", row[0], reply, row[2])
		}
	}
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		server := dial(t, s.Addr)
		for _, row := range table {
			if reply := server.do(t, docCommand(row[0])...); !isReply(reply, row[1]) {
				t.Errorf("%s\nreplies %q\nand should reply %s", row[0], reply, row[1])
			}
		}
	})
}

// commandNames returns the commands that the engine has, subcommands as "script|load".
func commandNames() []string {
	var names []string
	for _, name := range luatest.New().Do("COMMAND", "LIST").([]any) {
		names = append(names, fmt.Sprint(name))
	}
	slices.Sort(names)
	return names
}
