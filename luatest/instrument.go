package luatest

import (
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// prepared returns the edition of a script that is to run: the script itself,
// or one with calls put in that count its coverage or check its portability.
func (e *Engine) prepared(s *script) (*script, Error) {
	if e.coverage == nil && e.portable == 0 {
		return s, ""
	}
	if edition := e.instrumented[s.digest]; edition != nil {
		return edition, ""
	}
	edition, err := instrument(s.source, e.coverage != nil, e.portable != 0)
	if err != nil {
		return nil, Error(oneLine("ERR Error compiling script (new function): " + err.Error()))
	}
	if e.instrumented == nil {
		e.instrumented = map[string]*script{}
	}
	e.instrumented[s.digest] = edition
	return edition, ""
}

// instrument compiles a source with the calls that count its coverage or check
// its portability.
func instrument(source string, coverage, portable bool) (*script, error) {
	edition := &script{digest: digestOf(source), source: source}
	var err error
	edition.proto, err = compileChunk(source, chunkName, 0, func(chunk []ast.Stmt) []ast.Stmt {
		if coverage {
			var c coverer
			chunk = c.block(chunk)
			edition.points = c.points
		}
		if portable {
			checkPortability(chunk)
		}
		return chunk
	})
	return edition, err
}

// function returns the Lua function to run for a script. The functions that are
// called by what was put into its code are in an environment of its own.
func (s *sandbox) function(sc *script) *lua.LFunction {
	f := s.state.NewFunctionFromProto(sc.proto)
	if s.engine.coverage == nil && s.engine.portable == 0 {
		return f
	}
	s.counts = make([]count, len(sc.points))
	f.Env = s.environment(s.engine.portable != 0)
	if s.engine.portable != 0 {
		s.breaches = nil
		s.methods.RawSetString("__index", s.checkedMethods)
	}
	return f
}

func (s *sandbox) environment(portable bool) *lua.LTable {
	if env := s.environments[portable]; env != nil {
		return env
	}
	var env *lua.LTable
	if portable {
		env = s.openChecks()
	} else {
		env = s.protect(s.state.NewTable(), s.globals)
	}
	env.RawSetString(coverFunction, s.state.NewFunction(s.luaCover))
	s.environments[portable] = env
	return env
}

// finish settles the accounts of a run, and returns what the checks found.
func (s *sandbox) finish(sc *script) Error {
	e := s.engine
	e.instructions += s.meter.count
	if e.coverage != nil {
		e.coverage.add(sc, s.counts)
	}
	if e.portable != 0 {
		s.methods.RawSetString("__index", s.libraryOf("string"))
	}
	if len(s.breaches) == 0 {
		return ""
	}
	return breachError(s.breaches, sc.digest)
}
