#!/bin/sh
# Tests wildkey.sh on the empty server of REDIS_URL: see "Conformance" in clients/README.md. It needs jq and iconv.
#
#   conformance.sh vectors VECTORS.JSON
#   conformance.sh lines NAMESPACE PAGE_LIMIT [preloaded] < LINES

set -uf
export LC_ALL=C
here=$(dirname "$0")
failures=0
wildkey() { sh "$here/wildkey.sh" "$@"; }

# from_vectors FILTER: runs the shell code that jq makes of the vectors. A character is a byte there: Latin-1.
from_vectors() {
	code=$(jq -r "$forms $1" "$file" | iconv -f UTF-8 -t LATIN1) || exit
	eval "$code"
}

# shellcheck disable=SC2016 # It is for jq, as are those below.
forms='
	def digit: . as $n | "0123456789ABCDEF"[$n:$n + 1];
	def hex: (. / 16 | floor | digit) + (. % 16 | digit);
	def bytes(escape): explode | map(if [.] | implode | test("^[A-Za-z0-9._~-]$") then [.] | implode
		else escape end) | join("");
	def encoded: bytes("%" + hex);
	def octal: explode | map("\\0\(. / 64 | floor)\(. / 8 % 8 | floor)\(. % 8)") | join("");
	def word: "\"" + bytes("\\x" + hex) + "\"";
	def printed: "\"" + (explode | map(
		{"7": "\\a", "8": "\\b", "9": "\\t", "10": "\\n", "13": "\\r", "34": "\\\"", "92": "\\\\"}[tostring] //
		if . < 32 or . > 126 then "\\x" + (hex | ascii_downcase) else [.] | implode end) | join("")) + "\"";
	def reply(indent):
		if type == "null" then "(nil)"
		elif type == "number" then "(integer) \(.)"
		elif type == "string" then printed
		elif type == "object" then "(error) " + .error
		elif length == 0 then "(empty array)"
		else
			(length | tostring | length) as $width
			| [to_entries[] | (.key + 1 | tostring) as $number
				| ($width - ($number | length)) as $pad | (if $pad > 0 then " " * $pad else "" end)
				+ $number + ") " + (.value | reply(indent + "  " + " " * $width))]
			| join("\n" + indent)
		end;'

expect() { # WHAT WANT GOT
	[ "$2" = "$3" ] && return
	failures=$((failures + 1))
	printf '%.200s:\n got %.300s\nwant %.300s\n' "$1" "$3" "$2"
}

expect_refused() { # wildkey.sh's arguments
	wildkey "$@" >/dev/null 2>&1 </dev/null
	expect "the exit status of: $*" 2 $?
}

bytes() { # OCTAL ENCODED
	expect "encode $1" "$2" "$(printf '%b' "$1" | wildkey encode)"
	expect "decode $2" "$(printf '%b' "$1" | od -An -v -tx1)" "$(printf '%s' "$2" | wildkey decode | od -An -v -tx1)"
}

key() { # ENCODED SEGMENT...
	want=$1
	shift
	expect "key $*" "$want" "$(wildkey key "$@")"
}

terms() { # PATTERN TERMS
	expect "terms $1" "$2" "$(wildkey terms "$1")"
}

shard() { # SHARDS LEADING ENCODED SHARD
	expect "shard $1 $2 $3" "$4" "$(wildkey shard "$1" "$2" "$3")"
}

tag() { # NAMESPACE SHARD SHARDS LEADING TAG
	expect "tag of $*" "$5" \
		"$(WILDKEY_NAMESPACE=$1 WILDKEY_SHARD=$2 WILDKEY_SHARDS=$3 WILDKEY_SHARD_SEGMENTS=$4 wildkey tag)"
}

lease() { # NAMESPACE SHARD SHARDS LEADING KEY LEASE
	expect "the lease of $*" "$6" \
		"$(WILDKEY_NAMESPACE=$1 WILDKEY_SHARD=$2 WILDKEY_SHARDS=$3 WILDKEY_SHARD_SEGMENTS=$4 wildkey lease "$5")"
}

lease_call() { # CALL OPERATIONS WANT
	got=$(printf '%s\n' "$2" | WILDKEY_NAMESPACE=app WILDKEY_SCRIPTS=$echoing wildkey apply 2>&1)
	expect "$1" "wildkey.sh: put.lua: $3" "$got"
}

command() { # CASE VERB WORDS WANT
	name=$1 verb=$2 words=$3 want=$4
	case $verb in
	EVALSHA*) got=$(wildkey call "${verb#* }" "$words" 2>&1) ;;
	*) got=$(printf '%s\n' "$verb $words" | redis-cli -u "$REDIS_URL" --no-raw) ;;
	esac
	case $got in 'wildkey.sh: '*) got="(error) ${got#wildkey.sh: *.lua: }" ;; esac
	# A status is printed without quotes, and is text like any in the vectors.
	[ "$want" = "\"$got\"" ] && got=$want
	# The server may say more behind an error: in which line of the script.
	case $want in '(error)'*) case $got in "$want"*) got=$want ;; esac ;; esac
	expect "$name: $verb $words" "$want" "$got"
}

# shellcheck disable=SC2016
vectors() {
	file=$1
	# What holds a NUL cannot be an argument. A key with one is written encoded, and encode and decode take any byte.
	from_vectors '.keys[] | @sh "bytes \(.segments | join("") | octal) \(.encoded | split(":") | join(""))"'
	from_vectors '.keys[] | select(.segments | join("") | test("\u0000") | not) | @sh "key \(.encoded) \(.segments)"'
	from_vectors '.refused_segments[] | select(join("") | test("\u0000") | not) | @sh "expect_refused key \(.)"'
	# What begins with a ! names leases in a shell, where nothing but text can.
	from_vectors '.refused_encoded[] | select(test("\u0000|^!.") | not) | @sh "expect_refused get \(.)"'
	from_vectors '.patterns[] | @sh "terms \(.text) \(.terms | join("\n"))"'
	from_vectors '.refused_patterns[] | select(test("\u0000|^!.") | not) | @sh "expect_refused keys \(.)"'
	from_vectors '.shards[] | @sh "shard \(.shards) \(.leading) \(.segments | map(encoded) | join(":")) \(.shard)"'
	from_vectors '.shards[] | @sh "tag \(.namespace) \(.shard) \(.shards) \(.leading) \(.tag)"'

	from_vectors '.leases[]
		| @sh "lease \(.namespace) \(.shard) \(.shards) \(.leading) \(.segments | map(encoded) | join(":")) \(.lease)"'
	from_vectors '.lease_patterns[] | @sh "terms \("!" + .text) \(.terms | join("\n"))"'
	# A put.lua that replies with what it was sent, which is no number and so in the complaint.
	echoing=$(mktemp -d)
	trap 'rm -rf "$echoing"' EXIT
	echo 'return { KEYS, ARGV }' >"$echoing/put.lua"
	(cd "$echoing" && sha1sum put.lua >SHA1SUMS)
	from_vectors '.lease_calls[] | (.operations | map([.op, (if .lease then "!" else "" end)
			+ (.segments | map(encoded) | join(":")), .ttl // empty, .condition[:1] + (.condition[1:] | encoded),
			(.value // empty | encoded)] | join(" ")) | join("\n")) as $operations
		| @sh "lease_call \(.call) \($operations) \([.keys, .arguments] | reply(""))"'

	if [ "$(redis-cli -u "$REDIS_URL" DBSIZE)" != 0 ]; then
		echo 'the server of REDIS_URL is not empty, and the calls begin with FLUSHALL' >&2
		exit 1
	fi
	from_vectors '.calls[] | .command as $c | (if $c[0] | test("^EVALSHA") then 2 else 1 end) as $n
		| @sh "command \(.case) \($c[:$n] | join(" ")) \($c[$n:] | map(word) | join(" ")) \(.reply | reply(""))"'
	[ "$failures" = 0 ]
}

lines() {
	WILDKEY_NAMESPACE=$(printf '%s' "$1" | wildkey decode) WILDKEY_PAGE_LIMIT=$2
	WILDKEY_PRELOADED=$((${3:+1} + 0))
	export WILDKEY_NAMESPACE WILDKEY_PAGE_LIMIT WILDKEY_PRELOADED
	found=$(mktemp)
	trap 'rm -f "$found"' EXIT
	while read -r verb words; do
		# shellcheck disable=SC2086 # It is to be split.
		set -- $words
		case $verb in
		put)
			if [ $# -gt 3 ]; then printf '%s' "$4" | wildkey decode | wildkey put "$1" "$2" "$3"
			else wildkey put "$1" "$2" "$3" --empty; fi
			;;
		apply) printf '%s\n' "$words" | tr ';' '\n' | wildkey apply ;;
		*) wildkey "$verb" "$@" </dev/null ;;
		esac >"$found" 2>/dev/null
		case $?:$verb in
		2:*) echo refused ;;
		3:*) echo error ;;
		1:put) echo condition ;;
		0:put | 0:load) echo ok ;;
		1:get | 1:take) echo none ;;
		0:get | 0:take) printf '=%s\n' "$(wildkey encode <"$found")" ;;
		0:match) sed 's/ /=/' "$found" && echo end ;;
		0:records) sed 's/ \(.*\) \(.*\)/=\2 \1/' "$found" && echo end ;;
		0:keys) sed 's/^!//' "$found" && echo end ;;
		*) cat "$found" ;;
		esac
	done
}

"$@"
