package event

import (
	"crypto/sha256"
	"encoding/hex"
)

// key chooses the record key and names the field it came from.
func (p *payload) key() (key, field string) {
	switch {
	case len(p.personID) > 0:
		return short(p.personID), KeyID
	case len(p.customerID) > 0:
		return short(p.customerID), KeyCustomerID
	case len(p.cioID) > 0:
		return short(p.cioID), KeyCIOID
	case len(p.deliveryID) > 0:
		return short(p.deliveryID), KeyDeliveryID
	}
	return "", ""
}

// short returns key, or 128 bits of its hash in hex if it is too long: a key is
// stored with every record, and only its equality matters.
func short(key []byte) string {
	if len(key) <= MaxKeyLength {
		return string(key)
	}
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:16])
}
