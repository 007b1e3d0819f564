package ledger

// SetHostDir lets the locks of all users of this host stand elsewhere.
func (l *Ledger) SetHostDir(dir string) { l.host = dir }
