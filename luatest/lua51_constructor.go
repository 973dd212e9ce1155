package luatest

import (
	"fmt"

	"github.com/yuin/gopher-lua/ast"
)

// gopher-lua stores the items of a constructor fifty at a time. It loses count
// when a key or several values follow just then, and after so many times.
const (
	itemsPerStore = 50
	mostStores    = 511
)

// constructor gives keys to the items from the one on at which gopher-lua would
// lose count. It also sees that the last field, if it is a call with a key, does
// not pass for several items.
func (r *rewriter) constructor(table *ast.TableExpr) ast.Expr {
	var rest ast.Expr // the several values at the end
	fields := table.Fields
	if n := len(fields); n > 0 && fields[n-1].Key == nil && isMultiple(fields[n-1].Value) {
		rest, fields = fields[n-1].Value, fields[:n-1]
	}
	items, firstKeyed, ownKeys := 0, 0, false
	for _, field := range fields {
		if field.Key == nil {
			items++
		} else {
			_, isName := field.Key.(*ast.StringExpr)
			ownKeys = ownKeys || !isName
			field.Value = single(field.Value)
		}
		lost := field.Key != nil && items > 0 && items%itemsPerStore == 0 || items > mostStores*itemsPerStore
		if lost && firstKeyed == 0 {
			firstKeyed = items
		}
	}
	if firstKeyed == 0 && (rest == nil || items == 0 || items%itemsPerStore != 0) {
		return table
	}
	if ownKeys && r.err == nil {
		r.err = fmt.Errorf("%d: luatest: a constructor with as many items as this, and keys that may be theirs, is not modelled",
			table.Line())
	}
	items = 0
	for _, field := range fields {
		if field.Key != nil {
			continue
		}
		if items++; firstKeyed > 0 && items >= firstKeyed {
			field.Key = numberNode(field.Value.Line(), items)
		}
	}
	table.Fields = fields
	if rest == nil {
		return table
	}
	call := markedCall(table.Line(), extendMark, table, numberNode(table.Line(), items), rest)
	call.AdjustRet = true
	return call
}
