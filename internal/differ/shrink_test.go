package differ

import (
	"slices"
	"testing"
)

func TestShrink(t *testing.T) {
	var hundred []int
	for n := range 100 {
		hundred = append(hundred, n)
	}
	for _, test := range []struct {
		name  string
		fails func([]int) bool
		want  []int
	}{
		{"one is enough", func(seq []int) bool { return contains(seq, 71) }, []int{71}},
		{"two in order", func(seq []int) bool { return contains(seq, 3, 98) }, []int{3, 98}},
		{"first, last and middle", func(seq []int) bool { return contains(seq, 0, 50, 99) }, []int{0, 50, 99}},
		{"one with any other", func(seq []int) bool { return contains(seq, 42) && len(seq) > 1 }, []int{41, 42}},
		{"nothing is needed", func([]int) bool { return true }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Shrink(hundred, test.fails); !slices.Equal(test.want, got) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func contains(seq []int, want ...int) bool {
	for _, n := range seq {
		if len(want) > 0 && n == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}
