ipvsadm -A -t 203.0.113.10:80 -s rr
ipvsadm -a -t 203.0.113.10:80 -r 10.0.0.11:8080 -m
ipvsadm -a -t 203.0.113.10:80 -r 10.0.0.12:80 -g
# On 10.0.0.12 alone, which now gets packets for 203.0.113.10 itself, and must not claim that address on its network:
ip address add 203.0.113.10/32 dev lo
sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
