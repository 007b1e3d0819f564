package cmdline

import (
	"path/filepath"
	"strings"

	"github.com/camwarden/camwarden/pkg/lazyre"
)

// Grammar is by whose rules a command line is read.
type Grammar string

// The grammars. Of a foreign program the URLs are known, and nothing of what it does with them.
const (
	FFmpeg  Grammar = "ffmpeg"
	FFprobe Grammar = "ffprobe"
	Foreign Grammar = ""
)

// GrammarOf tells the grammar by the name of a program, a file or a process: ffmpeg and ffprobe themselves, and the names that
// builds and packagers give to the same program ("ffmpeg7", "ffmpeg.real", ".ffmpeg-wrapped", "ffmpeg-linux-x86_64-v7.0.2",
// "ffmpeg-n6.1-latest-linux64"), also cut after 15 bytes as the kernel does (man 5 proc_pid_comm). What merely begins so
// ("ffmpegthumbnailer", "ffmpeg-exporter") is another program.
func GrammarOf(name string) Grammar {
	name = strings.TrimSuffix(name, " (deleted)")
	if !strings.Contains(name, string(FFmpeg)) && !strings.Contains(name, string(FFprobe)) {
		return Foreign // nearly always, and asked of every process
	}
	m := family.Get().FindStringSubmatch(filepath.Base(name))
	if m == nil {
		return Foreign
	}
	return Grammar(m[1])
}

var family = lazyre.New(`^\.?(ffmpeg|ffprobe)(?:\d[\d.]*)?` +
	`(?:[-_.](?:v|n|N-|git-?|release-?)?\d[\w.+]*|[-_.](?:linux|gnu|musl|static|shared|latest|release|git|master|real|orig|original|bin|wrapped|unwrapped|distrib|` +
	`x86|x86_64|x64|amd64|i686|i386|arm|arm64|armhf|armel|armv\d\w*|aarch64|riscv64|64bit|32bit|gpl|lgpl|full|nonfree|minimal|x|x8|x86_|linux64|linuxarm64|v|n|l|li|lin|linu)\w*)*$`)
