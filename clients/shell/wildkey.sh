#!/bin/sh
# Wildkey from the shell: records under hierarchical keys in Redis, found by wildcard. README.md beside this file says
# how to install and use it; "wildkey.sh help" prints what follows.

# Functions that bash takes from the environment come before commands, and before special built-ins too where bash is
# not told to be a POSIX shell. As one, it has no names such as redis-cli for functions, and leaves those alone.
POSIXLY_CORRECT=1
unset -f alias awk cat command eval exec exit export mkfifo mktemp od printf read return rm sed set sha1sum shift \
	shopt test trap true unalias unset
unset -v POSIXLY_CORRECT
unset -f redis-cli : [ 2>/dev/null || true
POSIXLY_CORRECT=1
# Nor may a variable from there be exported on with what is put into it here: a large value would leave no room for
# arguments.
unset -v above action ahead answer arguments attempt bit bytes caller_lc_all command condition count crc cursor \
	database decoded directory encoded file first gate go head help here hex host index input items key keys \
	leading limit line loaded mark names negative newline next number octal one operation password port reads \
	records reply rest script scripts segment sha1 shard shards source stale sum tag term terms text tls tool \
	total ttl unquote url user userinfo value verb want words
unalias -a 2>/dev/null || :
# What bash takes from SHELLOPTS and BASHOPTS. Other shells have no shopt.
if (eval 'shopt -u nocasematch') >/dev/null 2>&1; then eval 'shopt -u nocasematch; set +k +o pipefail'; fi
set +a
set -euf
IFS=' 	
'
newline='
'
caller_lc_all=${LC_ALL+=$LC_ALL}
export LC_ALL=C

help='
usage: wildkey.sh VERB ARGUMENT...

  put KEY TTL [CONDITION]              writes standard input as the value; an empty one is refused
  put KEY TTL [CONDITION] -- COMMAND   writes what the command prints, if it ends with status 0
  put KEY TTL [CONDITION] --empty      writes an empty value
  apply [-- COMMAND]                   does the operations of standard input, or of the command, a line each, all or
                                       none; prints how many records were put, touched or deleted, or -3 where the
                                       condition of the third does not hold
  get KEY                              prints the value
  ttl KEY                              prints the milliseconds that the record has left, or never
  take KEY                             deletes the record and prints the value
  delete KEY...                        prints how many of the records were live
  touch TTL KEY...                     prints how many of the records are live
  match PATTERN                        prints a line a record, in order: key, space, percent-encoded value
  records PATTERN                      prints a line a record: key, TTL that is left, value
  keys PATTERN                         prints the keys alone
  count PATTERN                        prints how many records match
  list PATTERN                         prints the keys of as many segments as the pattern has, and user:4: for what
                                       lies beneath user:4
  estimate PATTERN                     prints an upper bound of how many records match ** or LITERAL:...:**, at once
  delete-match PATTERN                 deletes what matches and prints how many records
  touch-match TTL PATTERN              touches what matches and prints how many records
  index PATTERN                        prints the keys of index entries, live or not
  load                                 loads all scripts, or sees that they are there: calls load what they need
  key SEGMENT...                       prints the encoded key
  lease KEY                            prints the Redis key of the lease of the key
  shard SHARDS LEADING KEY             prints the shard of the key by its leading segments
  call SCRIPT WORDS...                 calls a script: numkeys, KEYS and ARGV as redis-cli reads and quotes them
  tag                                  prints the hash tag
  terms PATTERN                        prints the terms as match.lua takes them
  encode                               percent-encodes standard input
  decode                               decodes standard input
  help                                 prints this

KEY is an encoded key, user:42:a%20b, and so holds any bytes. SEGMENT holds any but NUL, which no argument can: write
that %00 in a KEY. TTL is milliseconds above 0, or never; or of a put keep, which leaves the time that the live record
has left. CONDITION is * none, - absent, + present, =VALUE, percent-encoded, or #SHA1 of the value. Operations:

  put KEY TTL CONDITION [VALUE]
  touch KEY TTL [CONDITION]
  delete KEY [CONDITION]
  check KEY CONDITION

A ! before a KEY of an operation, of get, delete or touch names the lease of the key, and before a PATTERN the leases of
the keys that it matches; they are printed with the !. clients/README.md says what leases are for.

Status 1: there is no such record, or a condition does not hold. 2: wrong usage, or an argument or an input is refused,
here or by the script. 3: the server, the connection or a tool failed, or an input could not be read.

From the environment: REDIS_URL, redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or rediss:// for TLS, where
WILDKEY_TLS_CA, WILDKEY_TLS_CERT and WILDKEY_TLS_KEY name files as --cacert, --cert and --key of redis-cli do;
WILDKEY_NAMESPACE (cache); WILDKEY_SCRIPTS (the directory of the scripts); WILDKEY_PRELOADED=1 (never load);
WILDKEY_LEAVE_STALE=1 (leave stale index entries alone, for users who may not write); and the bounds
WILDKEY_CALL_RECORDS, WILDKEY_PAGE_LIMIT, WILDKEY_PAGE_READS, WILDKEY_CALL_BYTES. For a namespace with several shards:
WILDKEY_SHARDS, WILDKEY_SHARD_SEGMENTS (1), and WILDKEY_SHARD, the one to work on.
'

# One segment in its only spelling: escaped is all that must be, and nothing else.
segment='([A-Za-z0-9._~-]|%([0189A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|5[B-E]|7[BCDF]))+'
key="$segment(:$segment)*"
term="($segment|($segment)?[*]($segment)?|$segment<($segment)?|<$segment)"

fail() {
	printf 'wildkey.sh: %s\n' "$2" >&2
	exit "$1"
}

# What fails and is handled nowhere has a status of its own, which must not pass for "not found".
negative=
ended() {
	case $1:$negative in 0: | 2: | 3: | 1:1) ;; *) exit 3 ;; esac
}
trap 'ended $?' EXIT

# no: there is no such record, or the condition does not hold.
no() {
	negative=1
	exit 1
}

say() {
	printf '%s\n' "$1" || fail 3 'standard output cannot be written'
}

# A descriptor that is closed would be taken by the next pipe that is made here.
( : 3>&2) || exec 2>/dev/null
( : 3>&1) 2>/dev/null || fail 3 'standard output is closed'
input=open
( : 3<&0) 2>/dev/null || {
	input=closed
	exec </dev/null
}

for tool in awk cat mkfifo mktemp od redis-cli rm sed sha1sum; do
	command -v "$tool" >/dev/null || fail 3 "there is no $tool in the PATH"
done

# is TEXT REGEX: awk looks at lines, so a newline must be refused before. That it fails is not the answer no.
is() {
	case $1 in *[!A-Za-z0-9._~%:*'<'-]*) return 1 ;; esac
	answer=$(printf '%s\n' "$1" | awk -v regex="^($2)\$" '{ print $0 ~ regex ? "yes" : "no" }') || fail 3 'awk failed'
	case $answer in
	yes) ;;
	no) return 1 ;;
	*) fail 3 'awk failed' ;;
	esac
}

check_key() {
	[ ${#1} -le 4096 ] || fail 2 "not an encoded key: $1"
	case $1 in
	'' | :* | *: | *::* | *[!A-Za-z0-9._~:-]*) is "$1" "$key" || fail 2 "not an encoded key: $1" ;;
	esac
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

# encode [SEPARATOR]: the separator is what a NUL becomes, instead of %00. A pipeline has the status of its last command
# alone: the line "end" says that od has read all.
encode() {
	{ od -An -v -tx1 && printf 'end\n'; } | awk -v separator="${1-%00}" '
		BEGIN {
			for (i = 0; i < 256; i++) {
				c = sprintf("%c", i)
				text[sprintf("%02x", i)] = c ~ /^[A-Za-z0-9._~-]$/ ? c : sprintf("%%%02X", i)
			}
			text["00"] = separator
		}
		$1 == "end" { ended = 1; next }
		{ for (i = 1; i <= NF; i++) printf "%s", text[$i] }
		END { exit !ended }'
}

# decoded TEXT: prints what is percent-encoded.
decoded() {
	octal=$(printf '%s\n' "$1" | awk '
		BEGIN { for (i = 0; i < 256; i++) octal[sprintf("%02X", i)] = sprintf("\\0%03o", i) }
		{
			n = split($0, part, "%")
			printf "%s", part[1]
			for (i = 2; i <= n; i++) printf "%s%s", octal[substr(part[i], 1, 2)], substr(part[i], 3)
		}') || fail 3 'awk failed'
	printf '%b' "$octal" || fail 3 'standard output cannot be written'
}

# quoted PERCENT-ENCODED: as redis-cli reads it.
quoted() {
	text=$(printf '%s\n' "$1" | sed 's/%\(..\)/\\x\1/g') || fail 3 'sed failed'
	printf '"%s"' "$text"
}

# run COMMAND...: with the locale of the caller. How it ended comes behind what it prints.
run() {
	if [ -n "$caller_lc_all" ]; then LC_ALL=${caller_lc_all#=}; else unset LC_ALL; fi
	if "$@"; then printf .wildkey.done; else printf .wildkey.failed; fi
}

# input [COMMAND...]: what standard input holds, or what the command prints, percent-encoded.
input() {
	if [ $# = 0 ]; then
		[ "$input" = open ] || fail 3 'standard input is closed'
		encode || fail 3 'standard input cannot be read'
		return
	fi
	text=$(run "$@" | encode) || fail 3 'od or awk failed'
	case $text in *.wildkey.done) printf '%s' "${text%.wildkey.done}" ;; *) fail 3 "the command failed: $1" ;; esac
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

# part_of_url TEXT: into the variable decoded. A NUL fits into no argument and no variable.
part_of_url() {
	case $1 in *[!A-Za-z0-9._~%\!\$\&\'\(\)*+,\;=:-]*)
		fail 2 'a user or password in REDIS_URL has a character that must be percent-encoded'
		;;
	esac
	encoded=$1 octal=
	while :; do
		case $encoded in
		*%00*) fail 2 'a user or password in REDIS_URL has a NUL' ;;
		*%[0-9A-Fa-f][0-9A-Fa-f]*) ;;
		*%*) fail 2 'a user or password in REDIS_URL is not percent-encoded' ;;
		*) break ;;
		esac
		ahead=${encoded%%\%*} encoded=${encoded#*\%}
		hex=${encoded%"${encoded#??}"} encoded=${encoded#??}
		case $hex in *[!0-9A-Fa-f]* | '' | ?) fail 2 'a user or password in REDIS_URL is not percent-encoded' ;; esac
		octal="$octal$ahead$(printf '\\0%03o' "0x$hex")"
	done
	decoded=$(printf '%b.' "$octal$encoded") # no newline at the end is lost
	decoded=${decoded%.}
}

# find_server: REDIS_URL in its parts, as the argument list of a process is for all to see. What redis-cli would take in
# another way than other clients do, or leave out, is refused: it would be another database or another user. No message
# has the URL in it, for the password's sake.
find_server() {
	url=${REDIS_URL-} tls='' user='' password='' port=6379 database=0
	[ -n "$url" ] || url=redis://127.0.0.1
	case $url in
	redis://*) ;;
	rediss://*) tls=1 ;;
	*) fail 2 'REDIS_URL begins neither with redis:// nor with rediss://' ;;
	esac
	rest=${url#*://}
	case $rest in
	*['?#']*) fail 2 'REDIS_URL has a ? or #: only a user, a password, a host, a port and a database are known' ;;
	*/*) database=${rest#*/} rest=${rest%%/*} ;;
	esac
	case ${database:=0} in
	0) ;;
	0* | *[!0-9]* | ??????????*) fail 2 'the database in REDIS_URL is no number of at most 9 digits' ;;
	esac
	case $rest in
	*@*)
		userinfo=${rest%@*} rest=${rest##*@}
		case $userinfo in
		*:?*) ;;
		*) fail 2 'REDIS_URL has a user and no password: redis-cli would work as the default user' ;;
		esac
		part_of_url "${userinfo%%:*}"
		user=$decoded
		part_of_url "${userinfo#*:}"
		password=$decoded
		;;
	esac
	case $rest in
	'['*']') host=$rest ;;
	*:*) host=${rest%:*} port=${rest##*:} ;;
	*) host=$rest ;;
	esac
	case $port in '' | 0* | *[!0-9]* | ??????*) fail 2 'the port in REDIS_URL is no number' ;; esac
	[ "$port" -le 65535 ] || fail 2 'the port in REDIS_URL is above 65535'
	case ${host:=127.0.0.1} in
	'['*']')
		host=${host#?} host=${host%?}
		case $host in '' | *[!0-9A-Fa-f:.]*) fail 2 'the host in REDIS_URL is no address' ;; esac
		;;
	-* | *[!A-Za-z0-9._-]*) fail 2 'the host in REDIS_URL is no name of a host' ;;
	esac
}

# connected: redis-cli, as REDIS_URL says and as nothing else in the environment does.
connected() {
	set -- -h "$host" -p "$port" -n "$database" --no-auth-warning --no-raw
	[ -z "$user" ] || set -- "$@" --user "$user"
	if [ -n "$tls" ]; then
		set -- "$@" --tls
		case $host in *[!0-9.]*) case $host in *:*) ;; *) set -- "$@" --sni "$host" ;; esac ;; esac
		[ -z "${WILDKEY_TLS_CA-}" ] || set -- "$@" --cacert "$WILDKEY_TLS_CA"
		[ -z "${WILDKEY_TLS_CERT-}" ] || set -- "$@" --cert "$WILDKEY_TLS_CERT"
		[ -z "${WILDKEY_TLS_KEY-}" ] || set -- "$@" --key "$WILDKEY_TLS_KEY"
	fi
	unset REDISCLI_AUTH REDISCLI_RCFILE REDISCLI_HISTFILE FAKETTY
	if [ -n "$password" ]; then export REDISCLI_AUTH="$password"; fi
	redis-cli "$@" 2>&1 && printf 'end\n'
}

# send COMMAND: by standard input, which holds more than arguments may. Where the user or the database is refused,
# redis-cli says so and goes on as another user or in another database. So the command waits behind a gate, until a PING
# on the same connection has been answered and nothing was said before. redis-cli adds how long a slow command took.
send() {
	case $1 in *"$newline"*) fail 2 'a word has a newline' ;; esac
	gate=$(mktemp -d) || fail 3 'mktemp failed'
	mkfifo "$gate/fifo" || fail 3 'mkfifo failed'
	reply=$(
		exec 3<>"$gate/fifo"
		rm -r "$gate" || exit
		{
			printf 'PING\n'
			read -r go <&3
			# By cat, which copies the reply too: where it fails, nothing is sent.
			[ "$go" != go ] || printf '%s\n' "$1" | cat
		} | connected | {
			IFS= read -r first || first="redis-cli failed"
			case $first in
			PONG | '(error) NOPERM'*) printf 'go\n' >&3 ;;
			*) printf 'stop\n' >&3 && printf 'refused: %s\n' "${first#(error) }" ;;
			esac
			cat
		}
	) || fail 3 'a pipe to redis-cli failed'
	case $reply in
	refused:*)
		reply=${reply%%"$newline"*}
		fail 3 "${reply#refused: }"
		;;
	*"${newline}end") reply=${reply%"${newline}end"} ;;
	end) reply= ;;
	'(error)'*) ;;
	*) fail 3 "redis-cli failed: $reply" ;;
	esac
	case $reply in "("[0-9]*.[0-9]*"s)$newline"*) reply=${reply#*"$newline"} ;; esac
	case $reply in *"$newline("[0-9]*.[0-9]*'s)') reply=${reply%"$newline("*} ;; esac
	case $reply in
	'"'* | '('* | [0-9]*) say "$reply" ;;
	'') fail 3 'no reply from the server' ;;
	*) fail 3 "$reply" ;;
	esac
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
	case $sum in *[!0-9a-f]*) fail 2 "no digest of $1.lua in $scripts/SHA1SUMS" ;; esac
	printf '%s\n' "$sum"
}

load() {
	sha1=$(digest "$1") || exit
	if [ "${WILDKEY_PRELOADED-}" = 1 ]; then
		loaded=$(send "SCRIPT EXISTS $sha1") || exit
		[ "$loaded" = '1) (integer) 1' ] || fail 3 "not on the server: $1.lua $sha1"
		return
	fi
	sum=$(sha1sum <"$scripts/$1.lua") || fail 3 "$scripts/$1.lua cannot be read"
	[ "$sum" = "$sha1  -" ] || fail 3 "$scripts/$1.lua is not what SHA1SUMS says"
	source=$(encode <"$scripts/$1.lua") || fail 3 "$scripts/$1.lua cannot be read"
	source=$(quoted "$source") || exit
	loaded=$(send "SCRIPT LOAD $source") || exit
	[ "$loaded" = "\"$sha1\"" ] || fail 3 "SCRIPT LOAD $1.lua: ${loaded#(error) }"
}

# call COMMAND SCRIPT WORDS...: the command is EVALSHA, or EVALSHA_RO, which Redis before 7.0 lacks.
call() (
	command=$1 script=$2
	shift 2
	sha1=$(digest "$script") || exit
	for attempt in 1 2 3; do
		reply=$(send "$command $sha1 $*") || exit
		case $reply in
		'(error) ERR unknown command'*) command=EVALSHA ;;
		'(error) NOSCRIPT'*) [ "$attempt" = 3 ] || load "$script" || exit ;;
		*) break ;;
		esac
	done
	case $reply in
	'(error) BADARG'*) fail 2 "$script.lua: ${reply#(error) }" ;;
	'(error)'*) fail 3 "$script.lua: ${reply#(error) }" ;;
	esac
	say "$reply"
)

# The records of a call, and for put.lua an action, a condition and a value of each.
count=0 names='' arguments=

# add KEY [ACTION CONDITION VALUE]: the last three as redis-cli reads them.
add() {
	check_key "${1#!}"
	if [ "$shards" != 1 ]; then
		number=$(shard_of "$shards" "$leading" "${1#!}") || exit
		[ "$number" = "$shard" ] || fail 2 "in another shard than $tag: $1"
	fi
	count=$((count + 1)) names="$names $tag:$1"
	[ "$count" -le "$records" ] || fail 2 "more than $records records in one call"
	shift
	arguments="$arguments $*"
}

# condition CONDITION: as redis-cli reads it.
condition() {
	case $1 in
	'*' | - | +) printf '%s' "$1" ;;
	=*)
		check_encoded "${1#=}"
		quoted "$1"
		;;
	'#'*)
		if [ ${#1} != 41 ] || ! is "${1#?}" '[0-9a-f]*'; then fail 2 "not # and a SHA-1: $1"; fi
		quoted "$1"
		;;
	*) fail 2 "no condition: $1" ;;
	esac
}

check_put_ttl() {
	[ "$1" = keep ] || check_ttl "$1"
}

# add_put KEY TTL CONDITION VALUE: the condition as redis-cli reads it.
add_put() {
	value=$(quoted "$4") || exit
	add "$1" "$2" "$3" "$value"
}

# counted SCRIPT WORDS...: into the variable number.
counted() {
	reply=$(call EVALSHA "$1" "$((count + 1)) $index$names" "$2") || exit
	number=${reply#(integer) }
	[ "$reply" = "(integer) $number" ] || fail 3 "$1.lua: $reply"
}

# put KEY TTL [CONDITION] [--empty | -- COMMAND...]: all arguments are looked at before the value is read.
put() {
	check_key "$1"
	check_put_ttl "$2"
	key=$1 ttl=$2 condition='*'
	shift 2
	[ $# = 0 ] || case $1 in
	--*) ;;
	*)
		condition=$1
		shift
		;;
	esac
	condition=$(condition "$condition") || exit
	case $#:${1-} in
	0:) value=$(input) || exit ;;
	1:--empty) value= ;;
	1:*) usage ;;
	*:--)
		shift
		value=$(input "$@") || exit
		;;
	*) usage ;;
	esac
	[ -n "$value" ] || [ "${1-}" = --empty ] ||
		fail 2 'the value is empty: if nothing failed that should have filled it, say --empty'
	add_put "$key" "$ttl" "$condition" "$value"
	counted put "$arguments"
	[ "$number" -gt 0 ] || no
}

# apply COMMAND...: a line without its end was cut off, and might name another record.
apply() {
	text=$(input "$@") || exit
	case $text in
	*%00*) fail 2 'a NUL among the operations' ;;
	*%0A) ;;
	*) fail 2 'the operations do not end in a newline' ;;
	esac
	text=$(decoded "$text") || exit
	IFS=$newline
	for operation in $text; do
		IFS=" 	$newline"
		# shellcheck disable=SC2086 # It is to be split.
		set -- $operation
		case ${1-}:$# in
		put:[45])
			check_put_ttl "$3"
			check_encoded "${5-}"
			condition=$(condition "$4") || exit
			add_put "$2" "$3" "$condition" "${5-}"
			;;
		touch:[34])
			check_ttl "$3"
			condition=$(condition "${4-*}") || exit
			add "$2" "\"touch $3\"" "$condition" '""'
			;;
		delete:[23] | check:3)
			condition=$(condition "${3-*}") || exit
			add "$2" "$1" "$condition" '""'
			;;
		*) fail 2 "no operation: $operation" ;;
		esac
	done
	counted put "$arguments"
	say "$number"
	[ "$number" -ge 0 ] || no
}

# value COMMAND REPLY: prints it, or exits where there is none.
value() {
	case $2 in
	'"'*'"')
		text=$(printf '%s\n' "$2" | awk "$unquote"'{ unquote($0) }') || fail 3 'awk failed'
		decoded "$text"
		;;
	'(nil)') no ;;
	*) fail 3 "$1: ${2#(error) }" ;;
	esac
}

# integer COMMAND REPLY: into the variable number.
integer() {
	number=${2#(integer) }
	[ "$2" = "(integer) $number" ] || fail 3 "$1: ${2#(error) }"
}

terms() {
	is "${1#!}" "($term:)*($term|[*][*])" || fail 2 "bad pattern: $1"
	case $1 in '!'*) mark='!' ;; *) mark='' ;; esac # of leases, in the first term
	IFS=:
	for one in ${1#!}; do
		case $mark$one in
		'!**') say '^!*' && say '**' ;;
		'*' | '**') say "$one" ;;
		*'*'*) say "^$mark$one" ;;
		*'<'*) say "[$mark$one" ;;
		*) say "=$mark$one" ;;
		esac
		mark=
	done
	IFS=" 	$newline"
}

# of_page PLACE: what a page has there, strings in quotes.
of_page() {
	printf '%s\n' "$items" | sed -n "s/^$1 //p" || fail 3 'sed failed'
}

# sweep: drops what is stale. The page is right without this, and the next one to meet these entries asks again.
sweep() (
	IFS=$newline
	# shellcheck disable=SC2086 # A line is one entry.
	set -- $stale
	IFS=" 	$newline"
	call EVALSHA sweep "$(($# + 1)) $index" "$@"
)

# pages WANT PATTERN [ACTION]: a page is one call, and one more where it met stale index entries. With an action, what
# the index has there is deleted or touched, and how many records were live is printed.
pages() {
	want=$1 action=${3-} limit=${WILDKEY_PAGE_LIMIT-500} reads=${WILDKEY_PAGE_READS-1000} command=EVALSHA_RO total=0
	bytes=${WILDKEY_CALL_BYTES-1048576}
	check_positive "$limit" 'WILDKEY_PAGE_LIMIT is a number'
	check_positive "$reads" 'WILDKEY_PAGE_READS is a number'
	check_positive "$bytes" 'WILDKEY_CALL_BYTES is a number'
	terms=$(terms "$2") || exit
	case $want:$action in
	count:) limit=$reads ;;
	index:?*) command=EVALSHA limit=$records ;;
	index:) command=EVALSHA ;; # from the master, which will be written to
	esac
	cursor='""'
	while :; do
		# shellcheck disable=SC2086 # A term has no blank.
		reply=$(call "$command" match "1 $index" "$want" "$cursor" "$limit $reads $bytes" $terms) || exit
		# One line a string or number, behind the number of its place in the reply.
		items=$(printf '%s\n' "$reply" | awk '
			/^[0-9]/ { place = $1 + 0; sub(/^[0-9]+\) /, "") }
			{ sub(/^ *[0-9]+\) /, "") }
			/^"/ || /^\(integer\)/ { print place, $0 }') || fail 3 'awk failed'
		next=$(of_page 1) || exit
		case $next in '"'*'"') ;; *) fail 3 "match.lua: $reply" ;; esac
		stale=$(of_page 3) || exit
		if [ -n "$stale" ] && [ "${WILDKEY_LEAVE_STALE-}" != 1 ]; then
			stale=$(printf '%s\n' "$stale" | sed "s|^\"|\"$tag:|") || fail 3 'sed failed'
			sweep >/dev/null 2>&1 || :
		fi
		case $want:$action in
		count:)
			number=$(of_page '4 (integer)') || exit
			total=$((total + number))
			;;
		index:?*)
			keys=$(of_page 4 | results) || exit
			count=0 names='' arguments=
			for one in $keys; do
				count=$((count + 1)) names="$names $tag:$one"
				arguments="$arguments \"$action\" * \"\""
			done
			if [ "$count" -gt 0 ]; then
				case $action in
				delete) counted delete count ;;
				*) counted put "$arguments" ;;
				esac
				total=$((total + number))
			fi
			;;
		*) of_page 4 | results || fail 3 'standard output cannot be written' ;;
		esac
		[ "$next" != '""' ] || break
		[ "$next" != "$cursor" ] || fail 3 "the cursor $next does not go on"
		cursor=$next
	done
	case $want:$action in count: | index:?*) say "$total" ;; esac
}

# results: the lines of a page, without what is no encoded key: no client of Wildkey wrote that.
results() {
	awk -v want="$want" -v key="^!?$key\$" "$unquote"'
		{ name = substr($0, 2, length($0) - 2); value = left = "" }
		want == "values" || want == "records" { getline value }
		want == "records" { getline left; sub(/^\(integer\) /, "", left) }
		{ plain = name; if (want == "list") sub(/:$/, "", plain) }
		plain ~ key && length(plain) <= 4096 + (plain ~ /^!/) {
			printf "%s", name
			if (left != "") printf " %s", left ~ /^-/ ? "never" : left == "0" ? "1" : left
			if (value != "") { printf " "; unquote(value) }
			printf "\n"
		}'
}

# estimate PATTERN: of ** all that lies above the leases; else what lies beneath the literals, and one for the record
# that they name.
estimate() {
	terms "$1" >/dev/null
	head=${1%'**'}
	case $head in
	"$1" | '!'* | *['*<']*) fail 2 "estimate needs literals and ** behind them: $1" ;;
	'') words='"[\"" +' above=0 ;;
	*) words="[$head (${head%:};" above=1 ;;
	esac
	reply=$(send "ZLEXCOUNT $index $words") || exit
	integer ZLEXCOUNT "$reply"
	say $((number + above))
}

# shard_of SHARDS LEADING KEY: by the CRC-32 of the leading segments.
shard_of() {
	shards=$1 leading=$2 head=
	IFS=:
	for one in $3; do
		[ "$leading" -gt 0 ] || break
		leading=$((leading - 1)) head="$head${head:+:}$one"
	done
	IFS=" 	$newline"
	bytes=$(printf '%s' "$head" | od -An -v -tu1) || fail 3 'od failed'
	crc=$((0xFFFFFFFF))
	for one in $bytes; do
		crc=$((crc ^ one))
		# shellcheck disable=SC2034 # Eight times.
		for bit in 0 1 2 3 4 5 6 7; do crc=$((crc & 1 ? crc >> 1 ^ 0xEDB88320 : crc >> 1)); done
	done
	say $(((crc ^ 0xFFFFFFFF) % shards))
}

# find_tag: of the namespace, or of its shard.
find_tag() {
	tag=${WILDKEY_NAMESPACE-cache} shards=${WILDKEY_SHARDS-1} leading=${WILDKEY_SHARD_SEGMENTS-1}
	records=${WILDKEY_CALL_RECORDS-250}
	check_positive "$records" 'WILDKEY_CALL_RECORDS is a number'
	case $tag in *[!A-Za-z0-9._~-]*) tag=$(printf '%s' "$tag" | encode) || fail 3 'od or awk failed' ;; esac
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

# usage: the lines of help for the verb, and status 2.
usage() {
	text=
	IFS=$newline
	for line in $help; do
		case $line in "  $verb "*'   '*) text="$text$newline$line" ;; esac
	done
	fail 2 "${text:+usage:}${text:-no verb $verb; \"wildkey.sh help\" lists them}"
}

[ $# -gt 0 ] || fail 2 'no verb; "wildkey.sh help" lists them'
verb=$1
shift
case $verb in
key | shard | terms | encode | decode | help) ;;
*)
	find_server
	find_tag
	;;
esac
case $verb:$# in
key:[1-9]*)
	encoded=$(printf '%s\0' "$@" | encode :) || fail 3 'od or awk failed'
	check_key "${encoded%:}"
	say "${encoded%:}"
	;;
put:[2-9] | put:[1-9]?*) put "$@" ;;
apply:0) apply ;;
apply:[2-9] | apply:[1-9]?*)
	[ "$1" = -- ] || usage
	shift
	apply "$@"
	;;
get:1)
	add "$1"
	reply=$(send "GET$names") || exit
	value GET "$reply"
	;;
ttl:1)
	add "$1"
	reply=$(send "PTTL$names") || exit
	integer PTTL "$reply"
	case $number in
	-2) no ;;
	-1) say never ;;
	0) say 1 ;;
	*) say "$number" ;;
	esac
	;;
take:1)
	add "$1"
	# Whether a value can be printed is seen before the only one there is has gone.
	text=$(value take '"a*"') || exit
	[ "$text" = 'a*' ] || fail 3 'awk failed'
	reply=$(call EVALSHA delete "2 $index$names" values) || exit
	value delete.lua "${reply#1) }"
	;;
delete:[1-9]*)
	for one; do add "$one"; done
	counted delete count
	say "$number"
	;;
touch:[2-9] | touch:[1-9]?*)
	check_ttl "$1"
	action="\"touch $1\""
	shift
	for one; do add "$one" "$action" '*' '""'; done
	counted put "$arguments"
	say "$number"
	;;
match:1) pages values "$1" ;;
records:1 | keys:1 | index:1 | count:1 | list:1) pages "$verb" "$1" ;;
estimate:1) estimate "$1" ;;
delete-match:1) pages index "$1" delete ;;
touch-match:2)
	check_ttl "$1"
	pages index "$2" "touch $1"
	;;
load:0) for script in delete match put sweep; do load "$script"; done ;;
lease:1)
	add "!$1"
	say "${names# }"
	;;
shard:3)
	check_positive "$1" 'SHARDS is a number'
	check_positive "$2" 'LEADING is a number'
	check_key "$3"
	shard_of "$@"
	;;
call:[2-9] | call:[1-9]?*)
	case $1 in
	match) call EVALSHA_RO "$@" ;;
	*) call EVALSHA "$@" ;;
	esac
	;;
tag:0) say "$tag" ;;
terms:1) terms "$1" ;;
encode:0) input ;;
decode:0)
	text=$(cat) || fail 3 'standard input cannot be read'
	check_encoded "$text"
	decoded "$text"
	;;
help:0) say "${help#?}" ;;
*) usage ;;
esac
