package observe

// Blind is a place we could not look into, and why; what stands there is unknown, never nothing.
type Blind struct {
	Where string `json:"where"`
	Why   string `json:"why"`
}
