package login

// Realm returns the realm of the first challenge that names one among the values of the header "WWW-Authenticate"; "" for none.
func Realm(offers []string) string {
	for _, offer := range offers {
		for _, one := range scan(offer) {
			if realm := one.parameters["realm"].text; realm != "" {
				return realm
			}
		}
	}
	return ""
}
