package sender

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// person is who a message went to. There are 50,000 of them, so that one person's events meet.
type person struct {
	id, first, email, cioID, phone string
}

const people = 50_000

func newPerson(r *rand.Rand) person {
	n := r.IntN(people)
	first, last := firstNames[n%len(firstNames)], lastNames[n/len(firstNames)%len(lastNames)]
	id := strconv.Itoa(100_000 + n)
	if n%3 == 0 {
		id = "u-" + id // workspaces number their people or name them
	}
	return person{
		id: id, first: first,
		email: fmt.Sprintf("%s.%s%d@%s", strings.ToLower(first), strings.ToLower(last), n, mailHosts[n%len(mailHosts)]),
		cioID: fmt.Sprintf("a3%06x%04x", n*2654435761&0xffffff, n&0xffff),
		phone: fmt.Sprintf("+1202555%04d", n%10_000), // 555 is for fiction
	}
}

// failures are what a channel's failure_message may say.
func failures(channel string) []string {
	switch channel {
	case "push":
		return []string{"Unregistered", "BadDeviceToken", "The registration token is no longer valid"}
	case "sms", "whatsapp":
		return []string{"30003: handset out of reach", "30006: landline or carrier not served", "21610: recipient has opted out"}
	}
	return []string{
		"550 5.1.1 no such mailbox here", "452 4.2.2 mailbox is full", "suppressed after an earlier complaint",
		"554 5.7.1 message refused by policy",
	}
}

func hexUpper(b []byte) string { return fmt.Sprintf("%X", b) }

// Nothing writes to these tables.
var (
	firstNames = []string{
		"Amina", "Bjorn", "Chen", "Dalia", "Emeka", "Farah", "Goran", "Hana", "Ivo", "Jun", "Kemal", "Lena",
		"Mara", "Nils", "Oksana", "Priya", "Rosa", "Samir", "Tove", "Uma", "Viktor", "Wanda", "Yusuf", "Zoe",
	}
	lastNames = []string{
		"Abara", "Berg", "Costa", "Dvorak", "Eriksen", "Fofana", "Gruber", "Haddad", "Ito", "Jansen", "Kovac",
		"Lindqvist", "Moreau", "Novak", "Okafor", "Patel", "Quispe", "Rossi", "Sato", "Toure", "Ueda", "Vargas",
	}
	mailHosts = []string{
		"example.com", "example.net", "example.org", "mail.example.com", "post.example.net",
	}
	platforms = []string{
		"ios", "android",
	}
	subjects = []string{
		"Your order is on its way", "A quiet week? Three ideas", "Reset your password", "Your invoice for last month",
		"Ends tonight: half off everything green", "Welcome! Here is where to begin", "We saved your cart",
	}
	campaigns = []string{
		"Onboarding", "Quiet customers", "Weekly digest", "Cart reminder", "Invoices",
	}
	sites = []string{
		"https://shop.example.com/sale/summer", "https://www.example.org/account/orders/latest",
		"https://example.net/articles/2026/how-to-pack", "https://shop.example.com/cart/restore",
	}
)
