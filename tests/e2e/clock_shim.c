/*
 * Steps the wall clock of one process: preloaded, it adds the seconds that stand in the file
 * named by CLOCK_SHIM_FILE to whatever the process reads as its wall clock, and leaves every
 * other clock alone. The file is mapped, so that a write to it is a step at that moment.
 *
 *   cc -shared -fPIC -O2 -o clock_shim.so clock_shim.c
 *
 * A program need not go through libc for the time: it may find the kernel's shared object by
 * itself. Therefore the first instructions of that object's functions are replaced, too.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *step;

static int64_t step_of(clockid_t clock)
{
	if (step && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		return *step;
	return 0;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	long result = syscall(SYS_clock_gettime, clock, out);
	if (result == 0)
		out->tv_sec += step_of(clock);
	return (int)result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	long result = syscall(SYS_gettimeofday, out, zone);
	if (result == 0 && out)
		out->tv_sec += step_of(CLOCK_REALTIME);
	return (int)result;
}

time_t time(time_t *out)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

#if defined(__x86_64__)
/* Writes `movabs $target, %rax; jmp *%rax` over the function at `at`. */
static void divert(uint8_t *at, void *target)
{
	uint64_t address = (uint64_t)target;
	uint8_t jump[12] = { 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0 };
	memcpy(jump + 2, &address, sizeof address);
	memcpy(at, jump, sizeof jump);
}

/* Diverts the functions of the kernel's shared object; nothing happens where that is not allowed. */
static void divert_vdso(void)
{
	uint8_t *base = (uint8_t *)getauxval(AT_SYSINFO_EHDR);
	if (!base)
		return;
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)base;
	const Elf64_Phdr *parts = (const Elf64_Phdr *)(base + header->e_phoff);
	const Elf64_Dyn *dynamic = NULL;
	uint8_t *bias = base;
	size_t size = 0;
	for (int i = 0; i < header->e_phnum; i++) {
		if (parts[i].p_type == PT_LOAD) {
			bias = base + parts[i].p_offset - parts[i].p_vaddr;
			size = parts[i].p_offset + parts[i].p_memsz;
		} else if (parts[i].p_type == PT_DYNAMIC) {
			dynamic = (const Elf64_Dyn *)(base + parts[i].p_offset);
		}
	}
	const Elf64_Sym *symbols = NULL;
	const char *names = NULL;
	for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
		if (dynamic->d_tag == DT_SYMTAB)
			symbols = (const Elf64_Sym *)(bias + dynamic->d_un.d_ptr);
		else if (dynamic->d_tag == DT_STRTAB)
			names = (const char *)(bias + dynamic->d_un.d_ptr);
	}
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t length = (size + page - 1) / page * page;
	if (!symbols || !names || mprotect(base, length, PROT_READ | PROT_WRITE | PROT_EXEC))
		return;
	/* The symbols come right before their names, which says how many there are. */
	for (const Elf64_Sym *symbol = symbols; (const char *)(symbol + 1) <= names; symbol++) {
		const char *name = names + symbol->st_name;
		uint8_t *at = bias + symbol->st_value;
		if (!symbol->st_shndx)
			continue;
		if (!strcmp(name, "__vdso_clock_gettime"))
			divert(at, (void *)clock_gettime);
		else if (!strcmp(name, "__vdso_gettimeofday"))
			divert(at, (void *)gettimeofday);
		else if (!strcmp(name, "__vdso_time"))
			divert(at, (void *)time);
	}
	mprotect(base, length, PROT_READ | PROT_EXEC);
}
#else
static void divert_vdso(void) {}
#endif

__attribute__((constructor)) static void start(void)
{
	const char *file = getenv("CLOCK_SHIM_FILE");
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *mapped = mmap(NULL, sizeof *step, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (mapped != MAP_FAILED)
		step = mapped;
	divert_vdso();
}
