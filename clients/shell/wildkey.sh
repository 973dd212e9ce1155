#!/bin/sh
# Wildkey from the shell: records under hierarchical keys in Redis, found by wildcard.
#
#   wildkey.sh key SEGMENT...            prints the encoded key
#   wildkey.sh put KEY TTL [CONDITION]   writes standard input as the value, unless the condition fails: status 1
#   wildkey.sh get KEY                   prints the value; where there is none: status 1
#   wildkey.sh delete KEY...             prints how many of the records existed
#   wildkey.sh touch TTL KEY...          prints how many of the records live
#   wildkey.sh match PATTERN             prints a line a record, in order: key, space, percent-encoded value
#   wildkey.sh keys PATTERN              prints the keys alone, by the index
#   wildkey.sh load                      loads all scripts, or sees that they are there: calls load what they need
#   wildkey.sh shard SHARDS LEADING KEY  prints the shard of the key by its leading segments
#   wildkey.sh call SCRIPT WORDS...      calls a script: numkeys, KEYS and ARGV as redis-cli reads and quotes them
#   wildkey.sh tag, terms PATTERN        prints the hash tag, or the terms of a pattern, as the scripts take them
#   wildkey.sh encode, decode            percent-encodes standard input, or decodes it
#
# KEY is an encoded key, user:42:a%20b, and so holds any bytes. SEGMENT holds any but NUL, which no argument can:
# write that %00 in a KEY. TTL is milliseconds, 0: never expires. CONDITION is * none, - absent, + present, or
# =VALUE, percent-encoded. Status 2 is a refused argument, 3 any other failure.
#
# From the environment: REDIS_URL, WILDKEY_NAMESPACE (cache), WILDKEY_SHARD (none), WILDKEY_SCRIPTS (the directory of
# the scripts), WILDKEY_PRELOADED=1 (never load), WILDKEY_READ_ONLY=1 (as on a replica: leave stale index entries
# alone), and the bounds WILDKEY_MAX_RECORDS, WILDKEY_PAGE_LIMIT, WILDKEY_PAGE_READS, WILDKEY_PAGE_BYTES.

set -euf
export LC_ALL=C

# One segment in its only spelling: escaped is all that must be, and nothing else.
segment='([A-Za-z0-9._~-]|%([0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|5[B-E]|7[BCDF]))+'
key="$segment(:$segment)*"
term="(\\*|$segment\\*?)"

fail() {
	printf 'wildkey.sh: %s\n' "$2" >&2
	exit "$1"
}

# is TEXT REGEX: grep looks at lines, so a newline must be refused before.
is() {
	case $1 in *[!A-Za-z0-9._~%:*-]*) return 1 ;; esac
	printf '%s\n' "$1" | grep -Eqx -e "$2"
}

check_key() {
	[ ${#1} -le 4096 ] && is "$1" "$key" || fail 2 "not an encoded key: $1"
}

check_number() {
	case $1 in '' | *[!0-9]* | 0?*) fail 2 "not a whole number: $1" ;; esac
}

# check_encoded TEXT: percent-encoded, and maybe empty.
check_encoded() {
	[ -z "$1" ] || is "$1" "$segment" || fail 2 "not percent-encoded: $1"
}

# encode [SEPARATOR]: the separator is what a NUL becomes, instead of %00.
encode() {
	od -An -v -tx1 | awk -v separator="${1-%00}" '
		BEGIN {
			for (i = 0; i < 256; i++) {
				c = sprintf("%c", i)
				text[sprintf("%02x", i)] = c ~ /^[A-Za-z0-9._~-]$/ ? c : sprintf("%%%02X", i)
			}
			text["00"] = separator
		}
		{ for (i = 1; i <= NF; i++) printf "%s", text[$i] }'
}

decode() {
	text=$(cat)
	check_encoded "$text"
	printf '%b' "$(printf '%s\n' "$text" | awk '
		BEGIN { for (i = 0; i < 256; i++) octal[sprintf("%02X", i)] = sprintf("\\0%03o", i) }
		{
			n = split($0, part, "%")
			printf "%s", part[1]
			for (i = 2; i <= n; i++) printf "%s%s", octal[substr(part[i], 1, 2)], substr(part[i], 3)
		}')"
}

# quoted PERCENT-ENCODED: as redis-cli reads it.
quoted() {
	printf '"'
	printf '%s' "$1" | sed 's/%\(..\)/\\x\1/g'
	printf '"'
}

# What redis-cli prints in quotes, percent-encoded: a function for awk. It prints, as a long string would be copied
# for each character that is added to it.
unquote='
	function unquote(text,    i, c) {
		for (i = 2; i < length(text); i++) {
			c = substr(text, i, 1)
			if (c == "\\") {
				c = substr(text, ++i, 1)
				if (c == "x") { printf "%s", "%" toupper(substr(text, i + 1, 2)); i += 2 }
				else printf "%s", c in control ? control[c] : ascii[c]
			} else printf "%s", c ~ /[A-Za-z0-9._~-]/ ? c : ascii[c]
		}
	}
	BEGIN {
		for (i = 32; i < 127; i++) ascii[sprintf("%c", i)] = sprintf("%%%02X", i)
		control["a"] = "%07"; control["b"] = "%08"; control["t"] = "%09"; control["n"] = "%0A"; control["r"] = "%0D"
	}'

redis_cli() {
	redis-cli ${REDIS_URL:+-u "$REDIS_URL"} --no-auth-warning --no-raw "$@"
}

newline='
'

# send COMMAND: by standard input, which holds more than arguments may; redis-cli adds how long a slow one took.
send() {
	reply=$(printf '%s\n' "$1" | redis_cli) || :
	case $reply in *"$newline("[0-9]*'s)') reply=${reply%"$newline("*} ;; esac
	[ -n "$reply" ] || fail 3 'no reply from the server'
	printf '%s\n' "$reply"
}

scripts=${WILDKEY_SCRIPTS-}
here=${0%/*}
[ "$here" != "$0" ] || here=.
for directory in "$here/scripts" "$here/../../scripts"; do
	[ -n "$scripts" ] || [ ! -f "$directory/SHA1SUMS" ] || scripts=$directory
done

digest() {
	[ -n "$scripts" ] || fail 2 'no scripts/SHA1SUMS beside this file'
	[ -f "$scripts/SHA1SUMS" ] || fail 2 "no $scripts/SHA1SUMS"
	while read -r sum file; do
		[ "$file" != "$1.lua" ] || break
	done <"$scripts/SHA1SUMS"
	[ "$file" = "$1.lua" ] || fail 2 "no $1.lua in $scripts/SHA1SUMS"
	printf '%s\n' "$sum"
}

load() {
	sha1=$(digest "$1")
	if [ "${WILDKEY_PRELOADED-}" = 1 ]; then
		[ "$(send "SCRIPT EXISTS $sha1")" = '1) (integer) 1' ] || fail 3 "not on the server: $1.lua $sha1"
		return
	fi
	[ "$(sha1sum <"$scripts/$1.lua")" = "$sha1  -" ] || fail 3 "$scripts/$1.lua is not what SHA1SUMS says"
	loaded=$(redis_cli -x SCRIPT LOAD <"$scripts/$1.lua") && [ "$loaded" = "\"$sha1\"" ] ||
		fail 3 "SCRIPT LOAD $1.lua: $loaded"
}

# call SCRIPT WORDS...
call() (
	script=$1 command=EVALSHA
	sha1=$(digest "$script")
	shift
	# match.lua never writes: replicas and users without write permission run it. Redis before 7.0 cannot tell.
	[ "$script" != match ] || command=EVALSHA_RO
	for attempt in 1 2 3; do
		reply=$(send "$command $sha1 $*")
		case $reply in
		'(error) ERR unknown command'*) command=EVALSHA ;;
		'(error) NOSCRIPT'*) [ "$attempt" = 3 ] || load "$script" ;;
		*) break ;;
		esac
	done
	case $reply in '(error)'*) fail 3 "$script.lua: ${reply#(error) }" ;; esac
	printf '%s\n' "$reply"
)

names() {
	[ $# -le "${WILDKEY_MAX_RECORDS-250}" ] || fail 2 "$# records in one call"
	printf '%s %s' $(($# + 2)) "$indexes"
	for one; do
		check_key "$one"
		printf ' %s' "$tag:$one"
	done
}

put() {
	check_number "$2"
	condition=${3-*}
	case $condition in
	'*' | - | +) ;;
	=*) check_encoded "${3#=}" && condition=$(quoted "$3") ;;
	*) fail 2 "no condition: $3" ;;
	esac
	names=$(names "$1")
	reply=$(call put "$names" "$(quoted "$(encode)")" "$2" "$condition")
	case $reply in
	'(integer) 1') ;;
	'(integer) -1') exit 1 ;;
	*) fail 3 "put.lua: $reply" ;;
	esac
}

get() {
	check_key "$1"
	reply=$(send "GET $tag:$1")
	case $reply in
	'"'*) printf '%s\n' "$reply" | awk "$unquote"'{ unquote($0) }' | decode ;;
	'(nil)') exit 1 ;;
	*) fail 3 "GET: $reply" ;;
	esac
}

counted() {
	reply=$(call "$@")
	printf '%s\n' "${reply#(integer) }"
}

terms() {
	is "$1" "($term:)*($term|\\*\\*)" || fail 2 "bad pattern: $1"
	printf '%s\n' "$1" | tr : '\n' | sed -e '/^\**$/b' -e 's/^\(.*\)\*$/^\1/' -e t -e 's/^/=/'
}

# pages WANT PATTERN: a page is one call, and one more where it met stale index entries.
pages() (
	terms=$(terms "$2")
	bounds="${WILDKEY_PAGE_LIMIT-500} ${WILDKEY_PAGE_READS-1000} ${WILDKEY_PAGE_BYTES-1048576}"
	cursor='""'
	while :; do
		reply=$(call match "2 $indexes" "$1" "$cursor" "$bounds" $terms)
		# One line a string, behind the number of its place in the reply.
		items=$(printf '%s\n' "$reply" | awk '
			/^[0-9]/ { place = $1 + 0; sub(/^[0-9]+\) /, "") }
			{ sub(/^ *[0-9]+\) /, "") }
			/^"/ { print place, $0 }')
		stale=$(printf '%s\n' "$items" | sed -n "s/^3 \"/\"$tag:/p")
		if [ -n "$stale" ] && [ "${WILDKEY_READ_ONLY-}" != 1 ]; then
			# The page is right without this, and the next one to meet these entries asks again.
			(call sweep "$(($(printf '%s\n' "$stale" | wc -l) + 2)) $indexes" $stale 0) >/dev/null 2>&1 || :
		fi
		# What is no encoded key was not written by a client of Wildkey.
		printf '%s\n' "$items" | sed -n 's/^4 //p' | awk -v want="$1" -v key="^$key\$" "$unquote"'
			{ name = substr($0, 2, length($0) - 2); ours = name ~ key && length(name) <= 4096 }
			ours { printf "%s", name }
			want == "values" { getline; if (ours) { printf " "; unquote($0) } }
			ours { printf "\n" }'
		next=$(printf '%s\n' "$items" | sed -n 's/^1 //p')
		[ "$next" != '""' ] || break
		[ "$next" != "$cursor" ] || fail 3 "the cursor $next does not go on"
		cursor=$next
	done
)

[ $# -gt 0 ] || fail 2 'no command; they are listed at the head of this file'
tag=${WILDKEY_NAMESPACE-cache}
case $tag in *[!A-Za-z0-9._~-]*) tag=$(printf '%s' "$tag" | encode) ;; esac
[ -n "$tag" ] || fail 2 'WILDKEY_NAMESPACE is empty'
tag="{$tag${WILDKEY_SHARD:+#$WILDKEY_SHARD}}"
indexes="$tag/keys $tag/expiry"
command=$1
shift
case $command:$# in
key:[1-9]*)
	encoded=$(printf '%s\0' "$@" | encode :)
	check_key "${encoded%:}"
	printf '%s\n' "${encoded%:}"
	;;
put:[23]) put "$@" ;;
get:1) get "$1" ;;
delete:[1-9]*)
	names=$(names "$@")
	counted delete "$names" count
	;;
touch:[1-9]?* | touch:[2-9])
	check_number "$1"
	ttl=$1
	shift
	names=$(names "$@")
	counted touch "$names" $(for one; do printf '%s ' "$ttl"; done)
	;;
match:1) pages values "$1" ;;
keys:1) pages keys "$1" ;;
load:0) for script in delete match put sweep touch; do load "$script"; done ;;
shard:3)
	for number in "$1" "$2"; do
		case $number in '' | *[!0-9]* | 0*) fail 2 "not a whole number above 0: $number" ;; esac
	done
	check_key "$3"
	leading=$(printf '%s\n' "$3" | cut -d : -f "1-$2") || fail 2 "too many segments: $2"
	# The trailer of a gzip file has the CRC-32 of what went in, lowest byte first.
	set -- "$1" $(printf '%s' "$leading" | gzip -c | tail -c 8 | od -An -v -tu1)
	echo $((($2 + 256 * $3 + 65536 * $4 + 16777216 * $5) % $1))
	;;
call:[2-9]* | call:1?*) call "$@" ;;
tag:0) printf '%s\n' "$tag" ;;
terms:1) terms "$1" ;;
encode:0) encode ;;
decode:0) decode ;;
*) fail 2 "$command with $# arguments; the commands are listed at the head of this file" ;;
esac
