package topicsink

import "net"

type netAddr = net.Addr
