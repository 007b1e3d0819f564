package inventory

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/camwarden/camwarden/pkg/camera"
)

// finish makes cameras of the candidates: twins are one, a NAME and its NAME_sub are one with both streams, ids are valid
// and unique, and an address has one limit.
func (b *builder) finish() Result {
	kept := b.withoutTwins()
	kept = withoutPairs(kept)
	b.oneLimit(kept)
	r := Result{}
	taken := map[string]bool{}
	for _, c := range kept {
		out := Camera{
			ID: idFor(c.name, taken), Line: c.main.line, Scheme: c.main.scheme, Host: c.main.host, Port: c.main.port, Path: c.main.path,
			Username: c.main.user, Password: c.main.password, PasswordEnv: c.main.env, Model: c.model, MaxConnections: c.limit, Snapshot: c.snap,
		}
		if c.noPath {
			out.Path = ""
		}
		if c.sub != nil && c.sub.path != c.main.path {
			out.SubPath = c.sub.path
		}
		if c.main.udp {
			out.Transport = string(camera.UDP)
		}
		if strings.ContainsFunc(out.Model, unicode.IsControl) {
			out.Model = strings.Join(strings.FieldsFunc(out.Model, unicode.IsControl), " ")
		}
		r.Cameras = append(r.Cameras, out)
	}
	r.Reports = sortReports(b.reports)
	r.Shared = shared(kept)
	return r
}

func (b *builder) withoutTwins() []candidate {
	var kept []candidate
	for _, c := range b.found {
		i := slices.IndexFunc(kept, func(other candidate) bool { return other.main.stream() == c.main.stream() })
		if i < 0 {
			kept = append(kept, c)
			continue
		}
		first := &kept[i]
		if first.sub == nil && c.sub != nil && first.main.sameLogin(*c.sub) {
			first.sub = c.sub
		}
		b.report(c.line, c.name, Note, "the same stream as %s", first.name)
	}
	return kept
}

// withoutPairs makes one camera of NAME and NAME_sub at one address with one log-in.
func withoutPairs(all []candidate) []candidate {
	var kept []candidate
	for _, c := range all {
		stem, isSub := cutSuffix(c.name, "sub")
		pair := -1
		if isSub {
			pair = slices.IndexFunc(all, func(other candidate) bool {
				main, _ := cutSuffix(other.name, "main")
				return (strings.EqualFold(other.name, stem) || strings.EqualFold(main, stem)) && other.name != c.name && other.sub == nil &&
					other.main.address() == c.main.address() && other.main.scheme == c.main.scheme && other.main.sameLogin(c.main)
			})
		}
		if pair < 0 {
			kept = append(kept, c)
			continue
		}
		sub := c.main
		all[pair].sub = &sub
		if i := slices.IndexFunc(kept, func(other candidate) bool { return other.name == all[pair].name }); i >= 0 {
			kept[i].sub = &sub
		}
	}
	return kept
}

// cutSuffix takes a word off the end of a name, together with what parts it from the name.
func cutSuffix(name, word string) (string, bool) {
	if len(name) <= len(word)+1 || !strings.EqualFold(name[len(name)-len(word):], word) {
		return name, false
	}
	stem := name[:len(name)-len(word)]
	if last := stem[len(stem)-1]; strings.IndexByte("_-. ", last) < 0 {
		return name, false
	}
	return strings.TrimRight(stem, "_-. "), true
}

// oneLimit gives all cameras of an address the lowest of the limits that the file says for it, since the configuration wants
// them to agree.
func (b *builder) oneLimit(all []candidate) {
	lowest := map[string]int{}
	for _, c := range all {
		at := c.main.address()
		if c.limit > 0 && (lowest[at] == 0 || c.limit < lowest[at]) {
			lowest[at] = c.limit
		}
	}
	said := map[string]int{}
	for i := range all {
		c := &all[i]
		at := c.main.address()
		if before := said[at]; c.limit > 0 && before > 0 && before != c.limit {
			b.report(c.limitLine, c.name, Partly, "one address, two limits (%d and %d): the lower one holds for all its cameras", before, c.limit)
		}
		if c.limit > 0 {
			said[at] = c.limit
		}
		c.limit = lowest[at]
	}
}

// shared returns the addresses with several cameras and no limit.
func shared(all []candidate) []string {
	count := map[string]int{}
	var found []string
	for _, c := range all {
		at := c.main.address()
		if count[at]++; count[at] == 2 && c.limit == 0 {
			found = append(found, c.main.host+":"+itoa(int(c.main.port)))
		}
	}
	return found
}

const maxID = 64 // bytes, as camera.ValidID has it

// idFor returns the name where it is a valid id that is not taken, else one as near to it as can be.
func idFor(name string, taken map[string]bool) string {
	id := name
	if camera.ValidID(id) != nil {
		id = slug(name)
	}
	unique := id
	for n := 2; taken[unique]; n++ {
		suffix := "-" + itoa(n)
		unique = cut(id, maxID-len(suffix)) + suffix
	}
	taken[unique] = true
	return unique
}

// slug keeps of a name what an id may hold, with one dash for each run of other characters.
func slug(name string) string {
	var out strings.Builder
	for _, r := range name {
		switch {
		case r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) || r == '.' || r == '_'):
			out.WriteRune(r)
		case !strings.HasSuffix(out.String(), "-"):
			out.WriteByte('-')
		}
	}
	id := strings.TrimRight(cut(strings.TrimLeft(out.String(), ".-"), maxID), "-")
	if id == "" {
		return "camera"
	}
	return id
}

// cut shortens a text to that many bytes, without cutting a character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
