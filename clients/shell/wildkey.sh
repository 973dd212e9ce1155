#!/bin/sh
# Wildkey from the shell: records under hierarchical keys in Redis, found by wildcard.
#
#   wildkey.sh key SEGMENT...            prints the encoded key
#   wildkey.sh put KEY TTL [CONDITION]   writes standard input as the value, unless the condition fails: status 1
#   wildkey.sh apply                     does the operations on standard input, a line each, all of them or none; prints
#                                        how many records were put, touched or deleted, or -3 where the condition of the
#                                        third fails: status 1
#   wildkey.sh get KEY                   prints the value; where there is none: status 1
#   wildkey.sh take KEY                  deletes the record and prints the value; where there is none: status 1
#   wildkey.sh delete KEY...             prints how many of the records were live
#   wildkey.sh touch TTL KEY...          prints how many of the records are live
#   wildkey.sh match PATTERN             prints a line a record, in order: key, space, percent-encoded value
#   wildkey.sh records PATTERN           prints a line a record: key, TTL that is left, value
#   wildkey.sh keys PATTERN              prints the keys alone
#   wildkey.sh count PATTERN             prints how many records match
#   wildkey.sh index PATTERN             prints the keys of index entries, live or not: for delete and touch to take
#   wildkey.sh load                      loads all scripts, or sees that they are there: calls load what they need
#   wildkey.sh shard SHARDS LEADING KEY  prints the shard of the key by its leading segments
#   wildkey.sh call SCRIPT WORDS...      calls a script: numkeys, KEYS and ARGV as redis-cli reads and quotes them
#   wildkey.sh tag, terms PATTERN        prints the hash tag, or the terms of a pattern, as the scripts take them
#   wildkey.sh encode, decode            percent-encodes standard input, or decodes it
#
# KEY is an encoded key, user:42:a%20b, and so holds any bytes. SEGMENT holds any but NUL, which no argument can:
# write that %00 in a KEY. TTL is milliseconds above 0, or never; or of a put keep, which leaves the time that the live
# record has left. CONDITION is * none, - absent, + present, =VALUE, percent-encoded, or #SHA1 of the value. Operations:
#
#   put KEY TTL CONDITION [VALUE]
#   touch KEY TTL [CONDITION]
#   delete KEY [CONDITION]
#   check KEY CONDITION
#
# Status 2 is a refused argument, 3 any other failure.
#
# From the environment: REDIS_URL, WILDKEY_NAMESPACE (cache), WILDKEY_SCRIPTS (the directory of the scripts),
# WILDKEY_PRELOADED=1 (never load), WILDKEY_LEAVE_STALE=1 (leave stale index entries alone, for users who may not
# write), and the bounds WILDKEY_CALL_RECORDS, WILDKEY_PAGE_LIMIT, WILDKEY_PAGE_READS, WILDKEY_CALL_BYTES. For a
# namespace with several shards: WILDKEY_SHARDS, WILDKEY_SHARD_SEGMENTS (1), and WILDKEY_SHARD, the one to work on.

set -euf
export LC_ALL=C

# One segment in its only spelling: escaped is all that must be, and nothing else.
segment='([A-Za-z0-9._~-]|%([0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|5[B-E]|7[BCDF]))+'
key="$segment(:$segment)*"
term="($segment|($segment)?\\*($segment)?|$segment<($segment)?|<$segment)"

fail() {
	printf 'wildkey.sh: %s\n' "$2" >&2
	exit "$1"
}

# is TEXT REGEX: grep looks at lines, so a newline must be refused before.
is() {
	case $1 in *[!A-Za-z0-9._~%:*'<'-]*) return 1 ;; esac
	printf '%s\n' "$1" | grep -Eqx -e "$2"
}

check_key() {
	[ ${#1} -le 4096 ] && is "$1" "$key" || fail 2 "not an encoded key: $1"
}

# check_positive NUMBER WHAT
check_positive() {
	case $1 in '' | *[!0-9]* | 0* | ????????????????*) fail 2 "$2 above 0, of at most 15 digits: $1" ;; esac
}

check_ttl() {
	[ "$1" = never ] || check_positive "$1" 'a TTL is never, or milliseconds'
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

# Where the user or the database of REDIS_URL is refused, redis-cli says so on standard error, and goes on as another
# user or in another database.
redis_cli() {
	refused=$(redis-cli ${REDIS_URL:+-u "$REDIS_URL"} --no-auth-warning PING 2>&1 >/dev/null) || :
	[ -z "$refused" ] || fail 3 "$refused"
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

# call COMMAND SCRIPT WORDS...: the command is EVALSHA, or EVALSHA_RO, which Redis before 7.0 lacks.
call() (
	command=$1 script=$2
	sha1=$(digest "$script")
	shift 2
	for attempt in 1 2 3; do
		reply=$(send "$command $sha1 $*")
		case $reply in
		'(error) ERR unknown command'*) command=EVALSHA ;;
		'(error) NOSCRIPT'*) [ "$attempt" = 3 ] || load "$script" ;;
		*) break ;;
		esac
	done
	case $reply in
	'(error) BADARG'*) fail 2 "$script.lua: ${reply#(error) }" ;;
	'(error)'*) fail 3 "$script.lua: ${reply#(error) }" ;;
	esac
	printf '%s\n' "$reply"
)

# The records of a call, and for put.lua an action, a condition and a value of each.
count=0 names= arguments=

# add KEY [ACTION CONDITION VALUE]: the last three as redis-cli reads them.
add() {
	check_key "$1"
	[ "$shards" = 1 ] || [ "$(shard_of "$shards" "$leading" "$1")" = "$shard" ] || fail 2 "in another shard than $tag: $1"
	count=$((count + 1)) names="$names $tag:$1"
	[ "$count" -le "${WILDKEY_CALL_RECORDS-250}" ] || fail 2 "more than $((count - 1)) records in one call"
	shift
	arguments="$arguments $*"
}

# condition CONDITION: as redis-cli reads it.
condition() {
	case $1 in
	'*' | - | +) printf '%s' "$1" ;;
	=*) check_encoded "${1#=}" && quoted "$1" ;;
	'#'*) is "${1#?}" '[0-9a-f]{40}' && quoted "$1" || fail 2 "not # and a SHA-1: $1" ;;
	*) fail 2 "no condition: $1" ;;
	esac
}

# add_put KEY TTL CONDITION VALUE
add_put() {
	[ "$2" = keep ] || check_ttl "$2"
	condition=$(condition "$3")
	add "$1" "$2" "$condition" "$(quoted "$4")"
}

# counted SCRIPT WORDS...: into the variable number.
counted() {
	reply=$(call EVALSHA "$1" "$((count + 1)) $index$names" "$2")
	number=${reply#(integer) }
	[ "$reply" = "(integer) $number" ] || fail 3 "$1.lua: $reply"
}

apply() {
	while read -r line || [ -n "$line" ]; do
		set -- $line
		case ${1-}:$# in
		put:[45])
			check_encoded "${5-}"
			add_put "$2" "$3" "$4" "${5-}"
			;;
		touch:[34])
			check_ttl "$3"
			condition=$(condition "${4-*}")
			add "$2" "\"touch $3\"" "$condition" '""'
			;;
		delete:[23] | check:3)
			condition=$(condition "${3-*}")
			add "$2" "$1" "$condition" '""'
			;;
		*) fail 2 "no operation: $line" ;;
		esac
	done
	counted put "$arguments"
}

# value COMMAND REPLY: prints it, or exits where there is none.
value() {
	case $2 in
	'"'*) printf '%s\n' "$2" | awk "$unquote"'{ unquote($0) }' | decode ;;
	'(nil)') exit 1 ;;
	*) fail 3 "$1: $2" ;;
	esac
}

terms() {
	is "$1" "($term:)*($term|\\*\\*)" || fail 2 "bad pattern: $1"
	printf '%s\n' "$1" | tr : '\n' | sed -e '/^\**$/b' -e '/\*/s/^/^/' -e t -e '/</s/^/[/' -e t -e 's/^/=/'
}

# pages WANT PATTERN: a page is one call, and one more where it met stale index entries.
pages() (
	want=$1 limit=${WILDKEY_PAGE_LIMIT-500} reads=${WILDKEY_PAGE_READS-1000} command=EVALSHA_RO
	terms=$(terms "$2")
	case $want in
	count) limit=$reads ;;
	index) command=EVALSHA ;; # from the master, which will be written to
	esac
	cursor='""'
	while :; do
		reply=$(call "$command" match "1 $index" "$want" "$cursor" "$limit $reads ${WILDKEY_CALL_BYTES-1048576}" $terms)
		# One line a string or number, behind the number of its place in the reply.
		items=$(printf '%s\n' "$reply" | awk '
			/^[0-9]/ { place = $1 + 0; sub(/^[0-9]+\) /, "") }
			{ sub(/^ *[0-9]+\) /, "") }
			/^"/ || /^\(integer\)/ { print place, $0 }')
		stale=$(printf '%s\n' "$items" | sed -n "s|^3 \"|\"$tag:|p")
		if [ -n "$stale" ] && [ "${WILDKEY_LEAVE_STALE-}" != 1 ]; then
			# The page is right without this, and the next one to meet these entries asks again.
			(call EVALSHA sweep "$(($(printf '%s\n' "$stale" | wc -l) + 1)) $index" $stale) >/dev/null 2>&1 || :
		fi
		# What is no encoded key was not written by a client of Wildkey.
		printf '%s\n' "$items" | sed -n 's/^4 //p' | awk -v want="$want" -v key="^$key\$" "$unquote"'
			want == "count" { print $2; next }
			{ name = substr($0, 2, length($0) - 2); value = left = "" }
			want == "values" || want == "records" { getline value }
			want == "records" { getline left; sub(/^\(integer\) /, "", left) }
			name ~ key && length(name) <= 4096 {
				printf "%s", name
				if (left != "") printf " %s", left ~ /^-/ ? "never" : left == "0" ? "1" : left
				if (value != "") { printf " "; unquote(value) }
				printf "\n"
			}'
		next=$(printf '%s\n' "$items" | sed -n 's/^1 //p')
		[ "$next" != '""' ] || break
		[ "$next" != "$cursor" ] || fail 3 "the cursor $next does not go on"
		cursor=$next
	done
)

# shard_of SHARDS LEADING KEY
shard_of() {
	head=$(printf '%s\n' "$3" | cut -d : -f "1-$2")
	# The trailer of a gzip file has the CRC-32 of what went in, lowest byte first.
	set -- "$1" $(printf '%s' "$head" | gzip -c | tail -c 8 | od -An -v -tu1)
	echo $((($2 + 256 * $3 + 65536 * $4 + 16777216 * $5) % $1))
}

# find_tag: of the namespace, or of its shard.
find_tag() {
	tag=${WILDKEY_NAMESPACE-cache} shards=${WILDKEY_SHARDS-1} leading=${WILDKEY_SHARD_SEGMENTS-1}
	case $tag in *[!A-Za-z0-9._~-]*) tag=$(printf '%s' "$tag" | encode) ;; esac
	[ -n "$tag" ] || fail 2 'WILDKEY_NAMESPACE is empty'
	check_positive "$shards" 'WILDKEY_SHARDS is a number'
	check_positive "$leading" 'WILDKEY_SHARD_SEGMENTS is a number'
	shard=${WILDKEY_SHARD-}
	[ "$shards" != 1 ] || shard=${shard:-0}
	case $shard in '' | *[!0-9]* | 0?* | ????????????????*) fail 2 "WILDKEY_SHARD is no number: $shard" ;; esac
	[ "$shard" -lt "$shards" ] || fail 2 "WILDKEY_SHARD is $shard, and WILDKEY_SHARDS only $shards"
	[ "$shards" = 1 ] || tag="$tag#$shard/$shards/$leading"
	tag="{$tag}"
	index="$tag/keys"
}

[ $# -gt 0 ] || fail 2 'no command; they are listed at the head of this file'
command=$1
shift
case $command in key | shard | terms | encode | decode) ;; *) find_tag ;; esac
case $command:$# in
key:[1-9]*)
	encoded=$(printf '%s\0' "$@" | encode :)
	check_key "${encoded%:}"
	printf '%s\n' "${encoded%:}"
	;;
put:[23])
	value=$(encode)
	add_put "$1" "$2" "${3-*}" "$value"
	counted put "$arguments"
	[ "$number" -gt 0 ] || exit 1
	;;
apply:0)
	apply
	printf '%s\n' "$number"
	[ "$number" -ge 0 ] || exit 1
	;;
get:1)
	add "$1"
	reply=$(send "GET$names")
	value GET "$reply"
	;;
take:1)
	add "$1"
	reply=$(call EVALSHA delete "2 $index$names" values)
	value delete.lua "${reply#1) }"
	;;
delete:[1-9]*)
	for one; do add "$one"; done
	counted delete count
	printf '%s\n' "$number"
	;;
touch:[1-9]?* | touch:[2-9])
	check_ttl "$1"
	action="\"touch $1\""
	shift
	for one; do add "$one" "$action" '*' '""'; done
	counted put "$arguments"
	printf '%s\n' "$number"
	;;
match:1) pages values "$1" ;;
records:1 | keys:1 | index:1) pages "$command" "$1" ;;
count:1)
	counts=$(pages count "$1")
	for number in $counts; do count=$((count + number)); done
	printf '%s\n' "$count"
	;;
load:0) for script in delete match put sweep; do load "$script"; done ;;
shard:3)
	check_positive "$1" 'SHARDS is a number'
	check_positive "$2" 'LEADING is a number'
	check_key "$3"
	shard_of "$@"
	;;
call:[2-9]* | call:1?*)
	case $1 in
	match) call EVALSHA_RO "$@" ;;
	*) call EVALSHA "$@" ;;
	esac
	;;
tag:0) printf '%s\n' "$tag" ;;
terms:1) terms "$1" ;;
encode:0) encode ;;
decode:0) decode ;;
*) fail 2 "$command with $# arguments; the commands are listed at the head of this file" ;;
esac
