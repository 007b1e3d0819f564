package inventory

import (
	"unicode/utf16"
	"unicode/utf8"
)

// utf16Text decodes pairs of bytes, the low one at that place in each.
func utf16Text(content []byte, low int) []byte {
	units := make([]uint16, 0, len(content)/2)
	for i := 0; i+1 < len(content); i += 2 {
		units = append(units, uint16(content[i+low])|uint16(content[i+1-low])<<8)
	}
	return []byte(string(utf16.Decode(units)))
}

// windowsText decodes Windows-1252 where the content is not UTF-8.
func windowsText(content []byte) (text []byte, odd bool) {
	if utf8.Valid(content) {
		return content, false
	}
	// What Windows-1252 puts at 0x80 to 0x9f (unicode.org/Public/MAPPINGS/VENDORS/MICSFT/WINDOWS/CP1252.TXT).
	high := []rune("€\ufffd‚ƒ„…†‡ˆ‰Š‹Œ\ufffdŽ\ufffd\ufffd‘’“”•–—˜™š›œ\ufffdžŸ")
	for _, b := range content {
		r := rune(b)
		if b >= 0x80 && b <= 0x9f {
			r = high[b-0x80]
		}
		text = utf8.AppendRune(text, r)
	}
	return text, true
}
