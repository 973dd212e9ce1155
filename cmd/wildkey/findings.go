package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// What a finding is worth.
const (
	fine    = "ok"
	worth   = "note"
	problem = "problem"
)

// finding is what the doctor says of one matter.
type finding struct {
	Matter  string `json:"matter"`
	Status  string `json:"status"` // fine, worth or problem
	Finding string `json:"finding"`
	Advice  string `json:"advice,omitempty"`
}

// findings are those of one matter.
type findings []finding

func (f *findings) add(matter, status, advice, text string, args ...any) {
	*f = append(*f, finding{matter, status, fmt.Sprintf(text, args...), advice})
}

// cannot says that a matter cannot be seen: a note with advice where this user
// may not look, a problem where the server should have answered.
func (f *findings) cannot(matter string, err error, advice string) {
	status := worth
	if !refused(err) {
		status, advice = problem, "see why the server does not answer"
	}
	f.add(matter, status, advice, "cannot be seen: %s", plainly(err, "the server", false))
}

// unseen says that the server does not tell something.
func (f *findings) unseen(matter, what, advice string) {
	f.add(matter, worth, advice, "cannot be seen: %s", what)
}

var errTooOld = errors.New("a server before Redis 7.0 cannot be asked")

// refused reports whether a server does not let this user, or anybody, ask. An error
// with another code than these tells the state that the server is in.
func refused(err error) bool {
	var reply redis.Error
	if errors.Is(err, errTooOld) || !errors.As(err, &reply) {
		return errors.Is(err, errTooOld)
	}
	code, _, _ := strings.Cut(reply.Error(), " ")
	return code == "ERR" || code == "NOPERM" || code != strings.ToUpper(code)
}

// onEach examines each node of the namespace, and joins what is to be said of several.
func (f *findings) onEach(homes []home, examine func(home home, found *findings)) {
	var all findings
	nodes := map[finding][]string{}
	for _, home := range homes {
		var found findings
		examine(home, &found)
		for _, one := range found {
			if nodes[one] == nil {
				all = append(all, one)
			}
			nodes[one] = append(nodes[one], home.address)
		}
	}
	for _, one := range all {
		if on := nodes[one]; len(homes) > 1 && !strings.Contains(one.Finding, on[0]) {
			one.Finding += ", on " + strings.Join(on, " ")
		}
		*f = append(*f, one)
	}
}

// writeFindings gives advice a line of its own: it is what is to be read. People get a sum at
// the end, which the terminal still shows when the first lines have left it.
func (t *tool) writeFindings(all findings) error {
	number := map[string]int{}
	styles := map[string]style{fine: success, worth: remark, problem: alarm}
	for _, f := range all {
		if t.json {
			if err := t.line(f); err != nil {
				return err
			}
			continue
		}
		number[f.Status]++
		const indent = 19
		head := t.styled(t.stdout, styles[f.Status], f.Status) + fmt.Sprintf("%*s %-9s ", 8-len(f.Status), "", f.Matter)
		t.out.WriteString(hanging(head, indent, "", visible(f.Finding), t.width(t.stdout)))
		if f.Advice != "" {
			t.out.WriteString(hanging(strings.Repeat(" ", indent), indent, "-> ", visible(f.Advice), t.width(t.stdout)))
		}
	}
	if t.json {
		return nil
	}
	problems := counted(number[problem], "problem", "problems")
	if number[problem] > 0 {
		problems = t.styled(t.stdout, alarm, problems)
	}
	_, err := fmt.Fprintf(t.out, "%s, %s\n", problems, counted(number[worth], "note", "notes"))
	return err
}

// some lists what may be too much to read.
func some(words []string) string {
	const enough = 8
	if len(words) > enough+1 {
		words = append(words[:enough:enough], fmt.Sprintf("and %s more", number(len(words)-enough)))
	}
	return strings.Join(words, ", ")
}
