package luatest

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

// libraries returns Redis's globals by library, and by name in it. What belongs
// to none is under "".
func (s *sandbox) libraries() map[string]map[string]lua.LValue {
	l := s.state
	libraries := map[string]map[string]lua.LValue{}
	for library, functions := range map[string]map[string]lua.LGFunction{
		"":          s.baseLibrary(),
		"bit":       bitLibrary(),
		"cmsgpack":  s.cmsgpackLibrary(),
		"coroutine": coroutineLibrary(l.GetGlobal("coroutine").(*lua.LTable)),
		"math":      s.mathLibrary(),
		"string":    stringLibrary(),
		"struct":    structLibrary(),
		"table":     s.tableLibrary(),
	} {
		values := map[string]lua.LValue{}
		for name, f := range functions {
			values[name] = l.NewFunction(f)
		}
		libraries[library] = values
	}
	libraries["cjson"] = map[string]lua.LValue{}
	libraries["redis"] = s.redisTable()
	s.cjsonTable().ForEach(func(name, v lua.LValue) { libraries["cjson"][name.String()] = v })

	libraries[""]["_VERSION"] = lua.LString("Lua 5.1")
	libraries["math"]["huge"] = lua.LNumber(math.Inf(1))
	libraries["math"]["pi"] = lua.LNumber(math.Pi)
	for name, text := range map[string]string{
		"_NAME":        "cmsgpack",
		"_VERSION":     "lua-cmsgpack 0.4.0",
		"_COPYRIGHT":   "Copyright (C) 2012, Salvatore Sanfilippo",
		"_DESCRIPTION": "MessagePack C implementation for Lua",
	} {
		libraries["cmsgpack"][name] = lua.LString(text)
	}
	return libraries
}
