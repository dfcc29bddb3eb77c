/* For measurements on one machine only: a server whose ICE agent leaves loopback interfaces out
 * is told, with LD_PRELOAD, that they are interfaces like others. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>

int getifaddrs(struct ifaddrs **list)
{
	int (*real)(struct ifaddrs **) = (int (*)(struct ifaddrs **))dlsym(RTLD_NEXT, "getifaddrs");
	int failed = real ? real(list) : -1;

	if (failed)
		return failed;
	for (struct ifaddrs *each = *list; each; each = each->ifa_next)
		each->ifa_flags &= ~(unsigned)IFF_LOOPBACK;
	return 0;
}
