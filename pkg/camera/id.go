package camera

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/camwarden/camwarden/pkg/redact"
)

// maxID is the longest id in bytes: with a time and an extension it still makes a file name.
const maxID = 64

// ValidID reports why id cannot be the id of a camera or the name of a subnet. Such a name is made of letters of any
// script, digits, ".", "_" and "-", is at most 64 bytes long, and begins neither with a dot nor with a dash.
func ValidID(id string) error {
	switch {
	case id == "":
		return errors.New("it is empty")
	case len(id) > maxID:
		return fmt.Errorf("it is %d bytes long, of at most %d", len(id), maxID)
	case !utf8.ValidString(id):
		return errors.New("it is not valid UTF-8")
	case id[0] == '.' || id[0] == '-':
		return fmt.Errorf("it begins with %q", id[:1])
	}
	for _, r := range id {
		if !idRune(r) {
			return fmt.Errorf("it holds %q; letters, digits, dot, underscore and dash are allowed", r)
		}
	}
	return nil
}

// idRune includes marks, since many scripts do not write a letter without them.
func idRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || r == '.' || r == '_' || r == '-'
}

// IDFor returns the id of a camera that has no other: host_port_path. What looks like a secret in the path is left out. A token
// leaves 8 hex digits of its hash, so that the cameras of one recorder have ids of their own; a password, which somebody could
// guess and try against them, leaves none, and neither does a known one, those of secrets, wherever it stands. A long id is cut and told apart by a hash.
func IDFor(host string, port uint16, path string, secrets ...string) string {
	path = redact.New(secrets...).Known(path)
	origin := "rtsp://" + hostPort(host, port)
	var hashes []string
	path = strings.TrimPrefix(redact.Tokens(origin+path, func(token string) string {
		hashes = append(hashes, hash(token))
		return hashes[len(hashes)-1]
	}), origin)
	if strings.Contains(host, ":") {
		host = "ip" + strings.ReplaceAll(host, ":", "-")
	}
	raw := host + "_" + strconv.Itoa(int(port)) + "_" + strings.TrimPrefix(redact.String(path), "/")
	for _, sum := range hashes {
		if !strings.Contains(raw, sum) { // it stood where a secret has a name
			raw += "_" + sum
		}
	}
	id := strings.Trim(replaceRuns(raw, '_', idRune), "_.-")
	if len(id) <= maxID {
		return id
	}
	sum := hash(id)
	cut := maxID - len(sum) - 1
	for !utf8.RuneStart(id[cut]) {
		cut--
	}
	return id[:cut] + "-" + sum
}

// Slug returns an ASCII name for the id, for servers that are particular about names: what can be kept of it in lower
// case, and 8 hex digits that tell apart the ids of which the same is kept.
func Slug(id string) string {
	kept := strings.Trim(replaceRuns(strings.ToLower(id), '-', func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
	}), "-")
	if kept == "" {
		return hash(id)
	}
	return kept + "-" + hash(id)
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// replaceRuns replaces each run of characters that are not kept by one other.
func replaceRuns(s string, by rune, keep func(rune) bool) string {
	var out strings.Builder
	run := false
	for _, r := range s {
		switch {
		case keep(r) && r != utf8.RuneError:
			out.WriteRune(r)
			run = false
		case !run:
			out.WriteRune(by)
			run = true
		}
	}
	return out.String()
}

// Nearest returns the known words that a slip of the fingers could have turned into word, the nearest first, at most 3.
func Nearest(word string, known []string) []string {
	type near struct {
		word     string
		distance int
	}
	var found []near
	limit := max(1, utf8.RuneCountInString(word)/3)
	for _, candidate := range known {
		d := distance([]rune(strings.ToLower(word)), []rune(strings.ToLower(candidate)))
		if d <= limit && !slices.Contains(found, near{candidate, d}) {
			found = append(found, near{candidate, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return cmp.Compare(a.distance, b.distance) })
	var words []string
	for _, n := range found[:min(3, len(found))] {
		words = append(words, n.word)
	}
	return words
}

// distance counts the insertions, deletions and replacements that turn a into b, an exchange of neighbours as one
// (the restricted Damerau-Levenshtein distance).
func distance(a, b []rune) int {
	var last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			change := row[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			next[j] = min(change, row[j]+1, next[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], last[j-2]+1)
			}
		}
		last, row = row, next
	}
	return row[len(b)]
}
