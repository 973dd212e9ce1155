# Debian's package index, as apt-cache dumpavail writes it, to NDJSON for
# wildkey import: the key is (section, package, version), the value the stanza.
BEGIN { RS = ""; FS = "\n" }

{
	split("", field)
	for (i = 1; i <= NF; i++)
		if (match($i, /^[A-Z][A-Za-z0-9-]*: /))
			field[substr($i, 1, RLENGTH - 2)] = substr($i, RLENGTH + 1)
	printf "{\"key\":[%s,%s,%s],\"value\":%s}\n", \
		json(field["Section"]), json(field["Package"]), json(field["Version"]), json($0)
}

function json(text) {
	gsub(/\\/, "&&", text)
	gsub(/"/, "\\\"", text)
	gsub(/\n/, "\\n", text)
	gsub(/\t/, "\\t", text)
	return "\"" text "\""
}
