package event

import (
	"crypto/sha256"
	"encoding/hex"
)

// key chooses the record key and names the field it came from.
func (p *payload) key() (key, field string) {
	switch {
	case p.personID != "":
		return short(p.personID), KeyID
	case p.customerID != "":
		return short(p.customerID), KeyCustomerID
	case p.cioID != "":
		return short(p.cioID), KeyCIOID
	case p.deliveryID != "":
		return short(p.deliveryID), KeyDeliveryID
	}
	return "", ""
}

// short returns key, or 128 bits of its hash in hex if it is too long: a key is
// stored with every record, and only its equality matters.
func short(key string) string {
	if len(key) <= MaxKeyLength {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}
