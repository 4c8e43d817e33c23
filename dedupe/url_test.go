package dedupe

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

func TestParseURL(t *testing.T) {
	tests := []struct {
		url        string
		want       redis.UniversalOptions
		serverName string // of TLS; empty: none
	}{
		{"redis://cache.internal", redis.UniversalOptions{Addrs: []string{"cache.internal:6379"}}, ""},
		{"redis://:s3cret@cache:6380/2", redis.UniversalOptions{Addrs: []string{"cache:6380"}, Password: "s3cret", DB: 2}, ""},
		{"redis://u:p%2Fw@[::1]:1?db=3&client_name=x&protocol=3", redis.UniversalOptions{Addrs: []string{"[::1]:1"}, Username: "u", Password: "p/w", DB: 3, ClientName: "x", Protocol: 3}, ""},
		{"rediss://sluice:s3cret@cache.example.net:6380/2", redis.UniversalOptions{Addrs: []string{"cache.example.net:6380"}, Username: "sluice", Password: "s3cret", DB: 2}, "cache.example.net"},
		{"unix:///run/redis.sock?db=1", redis.UniversalOptions{Addrs: []string{"/run/redis.sock"}, DB: 1}, ""},
		{"unix://u:p@/run/redis.sock", redis.UniversalOptions{Addrs: []string{"/run/redis.sock"}, Username: "u", Password: "p"}, ""},
		{"redis+cluster://clustercfg.example.net", redis.UniversalOptions{Addrs: []string{"clustercfg.example.net:6379"}, IsClusterMode: true}, ""},
		{"redis+cluster://u:p@a:1/?addr=b:2&addr=c:3", redis.UniversalOptions{Addrs: []string{"a:1", "b:2", "c:3"}, Username: "u", Password: "p", IsClusterMode: true}, ""},
		{"rediss+cluster://clustercfg.example.net", redis.UniversalOptions{Addrs: []string{"clustercfg.example.net:6379"}, IsClusterMode: true}, "clustercfg.example.net"},
		{"redis+sentinel://s0?master_name=m", redis.UniversalOptions{Addrs: []string{"s0:26379"}, MasterName: "m"}, ""},
		{
			"redis+sentinel://su:sp@s0:1/4?master_name=m&addr=s1:2&addr=s2:3&username=u&password=p",
			redis.UniversalOptions{Addrs: []string{"s0:1", "s1:2", "s2:3"}, MasterName: "m", SentinelUsername: "su", SentinelPassword: "sp", Username: "u", Password: "p", DB: 4},
			"",
		},
		{"rediss+sentinel://[::1]?master_name=m", redis.UniversalOptions{Addrs: []string{"[::1]:26379"}, MasterName: "m"}, "::1"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			got, err := parseURL(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			serverName := ""
			if got.TLSConfig != nil {
				serverName = got.TLSConfig.ServerName
				if got.TLSConfig.InsecureSkipVerify {
					t.Error("certificates aren't verified")
				}
			}
			if serverName != tt.serverName {
				t.Errorf("TLS server name %q, want %q", serverName, tt.serverName)
			}
			got.TLSConfig = nil
			if tt.want.Protocol == 0 {
				tt.want.Protocol = 2
			}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", *got, tt.want)
			}
		})
	}
	for _, url := range []string{
		"rediss://h?skip_verify=true", "rediss+cluster://h?skip_verify=1", "rediss+sentinel://h?skip_verify=true&master_name=m",
	} {
		got, err := parseURL(url)
		if err != nil || got.TLSConfig == nil || !got.TLSConfig.InsecureSkipVerify {
			t.Errorf("%s: skip_verify isn't obeyed: %v", url, err)
		}
	}
}

func TestParseURLRefuses(t *testing.T) {
	const secret = "hunter2"
	tests := []struct {
		url  string
		says string
	}{
		{"", "scheme"},
		{"localhost:6379", "scheme"},
		{"http://u:hunter2@h", "scheme"},
		{"unix+cluster:///run/x", "scheme"},
		{"redis+ring://u:hunter2@h", "scheme"},
		{"redis://", "no host"},
		{"redis:///2", "no host"},
		{"unix://", "socket path"},
		{"redis://u:hunter2/x@h", "percent-encode"},
		{"redis://u:hunter2@h:port", "percent-encode"},
		{"redis://u:hunter2@a:1,b:2", "addr parameters"},
		{"redis://u:hunter2@h?read_timeout=3s", `"read_timeout" is not accepted`},
		{"redis://h?max_retries=3", `"max_retries" is not accepted`},
		{"redis://h?addr=b:2", `"addr" is not accepted`},
		{"redis://u:hunter2@h/x", "database number"},
		{"redis://h?skip_verify=true", "skip_verify"},
		{"redis+cluster://h?skip_verify=true", "skip_verify needs rediss"},
		{"rediss+cluster://h?skip_verify=perhaps", "skip_verify must be"},
		{"redis+cluster://u:hunter2@h/2", "no database number"},
		{"redis+cluster://h?db=2", `"db" is not accepted`},
		{"redis+cluster://h?read_only=true", `"read_only" is not accepted`},
		{"redis+cluster://u:hunter2@h?addr=b", "addr"},
		{"redis+sentinel://u:hunter2@h", "master_name is missing"},
		{"redis+sentinel://h?master_name=m&route_randomly=true", `"route_randomly" is not accepted`},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			_, err := parseURL(tt.url)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q doesn't say %q", err, tt.says)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error %q holds the password", err)
			}
		})
	}
}

// What go-redis ends up with decides how long a dead Redis costs.
func TestClientSettings(t *testing.T) {
	for _, url := range []string{"redis://u:old@h", "redis+cluster://u:old@h", "redis+sentinel://su:sp@h?master_name=m&username=u&password=old"} {
		t.Run(url, func(t *testing.T) {
			client, err := newClient(Options{URL: url, Password: "new", Timeout: 150 * time.Millisecond}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			var got redis.Options
			switch c := client.(type) {
			case *redis.Client:
				got = *c.Options()
			case *redis.ClusterClient:
				o := c.Options()
				got = redis.Options{
					Username: o.Username, Password: o.Password, MaxRetries: max(o.MaxRetries, 0), DialerRetries: o.DialerRetries,
					ContextTimeoutEnabled: o.ContextTimeoutEnabled, DialTimeout: o.DialTimeout, ReadTimeout: o.ReadTimeout,
					WriteTimeout: o.WriteTimeout, PoolTimeout: o.PoolTimeout, PipelinePoolSize: o.PipelinePoolSize,
					MaintNotificationsConfig: o.MaintNotificationsConfig, DisableIdentity: o.DisableIdentity, Protocol: o.Protocol,
				}
			}
			if got.Username != "u" || got.Password != "new" {
				t.Errorf("user %q, password %q", got.Username, got.Password)
			}
			if got.MaxRetries != 0 || got.DialerRetries != 1 || !got.ContextTimeoutEnabled || got.PipelinePoolSize >= 0 ||
				!got.DisableIdentity || got.Protocol != 2 {
				t.Errorf("settings %+v", got)
			}
			if got.MaintNotificationsConfig == nil || got.MaintNotificationsConfig.Mode != maintnotifications.ModeDisabled {
				t.Errorf("maintenance notifications %+v", got.MaintNotificationsConfig)
			}
			for name, d := range map[string]time.Duration{"dial": got.DialTimeout, "read": got.ReadTimeout, "write": got.WriteTimeout, "pool": got.PoolTimeout} {
				if d != 150*time.Millisecond {
					t.Errorf("%s timeout %v", name, d)
				}
			}
		})
	}
}
