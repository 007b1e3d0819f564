package doctor

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/camwarden/camwarden/pkg/sweep"
)

// few is how many examples evidence gives.
const few = 5

// pids names the first few processes with their start, and their parents: one for all where it is the same.
func pids(of []sweep.Decision) string {
	parents := map[string]bool{}
	for _, d := range of {
		parents[parent(d)] = true
	}
	var words []string
	for _, d := range of[:min(few, len(of))] {
		word := fmt.Sprintf("pid %d since %s", d.ID.PID, d.StartedAt.UTC().Format("2006-01-02 15:04:05"))
		if len(parents) > 1 {
			word += parent(d)
		}
		words = append(words, word)
	}
	if more := len(of) - few; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	text := strings.Join(words, ", ")
	if len(parents) == 1 {
		text += parent(of[0])
	}
	return text
}

func parent(d sweep.Decision) string {
	if len(d.Parents) == 0 {
		return ""
	}
	return fmt.Sprintf(", by %s (pid %d)", d.Parents[0].Name, d.Parents[0].PID)
}

func addresses(all []netip.AddrPort) string {
	var words []string
	for _, a := range all[:min(few, len(all))] {
		words = append(words, a.String())
	}
	if more := len(all) - few; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, ", ")
}

func streaming(n int) string {
	if n == 1 {
		return "a process streams"
	}
	return fmt.Sprintf("%d processes stream", n)
}

func zombies(n int) string {
	if n == 1 {
		return "1 dead process is"
	}
	return fmt.Sprintf("%d dead processes are", n)
}

// Word is a text as one word of a shell: others choose the names of their streams, and remedies are pasted.
func Word(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@%+,") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
