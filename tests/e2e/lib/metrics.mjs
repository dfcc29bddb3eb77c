// What the gateway counts, from its `/metrics`.

/** Reads all samples: `{'bifrons_gateway_sessions': 0, 'bifrons_…_total{reason="timeout"}': 3}`. */
export async function readMetrics(admin) {
  const response = await fetch(`${admin}/metrics`, { headers: { connection: 'close' } });
  const samples = {};
  for (const line of (await response.text()).split('\n')) {
    const at = line.lastIndexOf(' ');
    if (!line.startsWith('#') && at > 0) samples[line.slice(0, at)] = Number(line.slice(at + 1));
  }
  return samples;
}

/** The sum of a family, over all its labels. */
export function total(samples, name) {
  const members = Object.entries(samples).filter(([key]) => key === name || key.startsWith(`${name}{`));
  if (members.length === 0) throw new Error(`there is no ${name}`);
  return members.reduce((sum, [, value]) => sum + value, 0);
}
