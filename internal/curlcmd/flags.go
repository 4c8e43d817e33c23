package curlcmd

import "strings"

// Of curl's flags only those few are minded that decide about method, URL,
// headers and body. Of the others it must be known whether a value follows.

// shortFlags are pairs of a letter and a long name; curl --help all lists them.
const shortFlags = `
0 --http1.0        1 --tlsv1            2 --sslv2          3 --sslv3         4 --ipv4            6 --ipv6
a --append         A --user-agent       b --cookie         B --use-ascii     c --cookie-jar      C --continue-at
d --data           D --dump-header      e --referer        E --cert          f --fail            F --form
g --globoff        G --get              h --help           H --header        i --include         I --head
j --junk-session-cookies                J --remote-header-name               k --insecure        K --config
l --list-only      L --location         m --max-time       M --manual        n --netrc           N --no-buffer
o --output         O --remote-name      p --proxytunnel    P --ftp-port      q --disable         Q --quote
r --range          R --remote-time      s --silent         S --show-error    t --telnet-option   T --upload-file
u --user           U --proxy-user       v --verbose        V --version       w --write-out       x --proxy
X --request        y --speed-time       Y --speed-limit    z --time-cond     Z --parallel        # --progress-bar
: --next`

// valueFlags take a value.
const valueFlags = `
--abstract-unix-socket --alt-svc --aws-sigv4 --cacert --capath --cert --cert-type --ciphers --config --connect-timeout
--connect-to --continue-at --cookie --cookie-jar --create-file-mode --crlfile --curves --data --data-ascii --data-binary
--data-raw --data-urlencode --delegation --dns-interface --dns-ipv4-addr --dns-ipv6-addr --dns-servers --doh-url
--dump-header --ech --egd-file --engine --etag-compare --etag-save --expect100-timeout --form --form-string --ftp-account
--ftp-alternative-to-user --ftp-method --ftp-port --ftp-ssl-ccc-mode --happy-eyeballs-timeout-ms --haproxy-clientip
--header --hostpubmd5 --hostpubsha256 --hsts --interface --ip-tos --ipfs-gateway --json --keepalive-cnt --keepalive-time
--key --key-type --krb --libcurl --limit-rate --local-port --login-options --mail-auth --mail-from --mail-rcpt
--max-filesize --max-redirs --max-time --netrc-file --noproxy --oauth2-bearer --output --output-dir --parallel-max --pass
--pinnedpubkey --preproxy --proto --proto-default --proto-redir --proxy --proxy-cacert --proxy-capath --proxy-cert
--proxy-cert-type --proxy-ciphers --proxy-crlfile --proxy-header --proxy-key --proxy-key-type --proxy-pass
--proxy-pinnedpubkey --proxy-service-name --proxy-tls13-ciphers --proxy-tlsauthtype --proxy-tlspassword --proxy-tlsuser
--proxy-user --proxy1.0 --pubkey --quote --random-file --range --rate --referer --request --request-target --resolve
--retry --retry-delay --retry-max-time --sasl-authzid --service-name --socks4 --socks4a --socks5
--socks5-gssapi-service --socks5-hostname --speed-limit --speed-time --stderr --telnet-option --tftp-blksize --time-cond
--tls-max --tls13-ciphers --tlsauthtype --tlspassword --tlsuser --trace --trace-ascii --trace-config --unix-socket
--upload-file --url --url-query --user --user-agent --variable --vlan-priority --write-out`

// harmlessFlags take no value and change nothing of the request.
const harmlessFlags = `
--compressed --disable --fail --fail-early --fail-with-body --globoff --http1.0 --http1.1 --http2 --http2-prior-knowledge
--http3 --http3-only --include --insecure --ipv4 --ipv6 --location --location-trusted --no-alpn --no-buffer
--no-keepalive --no-progress-meter --no-sessionid --parallel --path-as-is --post301 --post302 --post303 --progress-bar
--raw --remote-name --remote-header-name --remote-time --retry-all-errors --retry-connrefused --show-error --show-headers
--silent --ssl --ssl-reqd --sslv2 --sslv3 --tcp-fastopen --tcp-nodelay --tlsv1 --tlsv1.0 --tlsv1.1 --tlsv1.2 --tlsv1.3
--tr-encoding --trace-ids --trace-time --verbose --list-only --manual --netrc --netrc-optional --junk-session-cookies
--version --help --append --proxytunnel --use-ascii --basic --digest --ntlm --negotiate --anyauth`

// longName is the long name of a short flag, "" if there is none.
func longName(letter byte) string {
	words := strings.Fields(shortFlags)
	for i := 0; i+1 < len(words); i += 2 {
		if words[i] == string(rune(letter)) {
			return words[i+1]
		}
	}
	return ""
}

func takesValue(flag string) bool { return listed(valueFlags, flag) }

func harmless(flag string) bool {
	return listed(harmlessFlags, flag) || strings.HasPrefix(flag, "--no-") && listed(harmlessFlags, "--"+strings.TrimPrefix(flag, "--no-"))
}

func listed(list, flag string) bool {
	for word := range strings.FieldsSeq(list) {
		if word == flag {
			return true
		}
	}
	return false
}
