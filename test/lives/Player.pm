# Plays a life: a real server and worker, and the emulator of Partner Center.  The two clocks move together, from one
# moment to the next at which somebody acts, something falls due or ends, or the calendar has something; at each the
# worker is given the time that it needs, which is seen, not slept for, and then the judges are asked.
package Player;

use strict;
use warnings;

use HTTP::Tiny;
use JSON::PP;
use POSIX ();
use SpinpanelTest;
use Time::HiRes qw(sleep time);

use Books;
use Judges;
use Life;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

use constant { DUES => 14, QUIET_SECONDS => 5 };

sub new
{
	my ($class, %options) = @_;
	my $self = bless {%options}, $class;
	$self->{t} = SpinpanelTest->start(
		name => "lives$$", preload => 'spinpanel', extension => 0, emulator_args => ['--quiet'],
		conf => {
			'spinpanel.settle_time' => '1h', 'spinpanel.retry_max_delay' => '5min', 'spinpanel.poll_interval' => '1s',
			'spinpanel.request_timeout' => '1500ms', 'log_min_messages' => 'warning', fsync => 'off' });
	my $t = $self->{t};
	$self->{clock_file} = $t->node->data_dir . '/lives.conf';
	$self->write_clock(0);
	$t->node->append_conf('postgresql.conf', "include 'lives.conf'");
	open my $pid, '<', $t->node->data_dir . '/postmaster.pid' or die $!;
	chomp($self->{postmaster} = <$pid>);
	$self->{http} = HTTP::Tiny->new(timeout => 30, proxy => undef, keep_alive => 1);
	return $self;
}

# ---- the emulator

# emulator(METHOD, PATH, DATA): the answer; dies where it is refused
sub emulator
{
	my ($self, $method, $path, $data) = @_;
	my $answer;
	for (1 .. 2)    # a kept connection may be gone
	{
		$answer = $self->{http}->request($method, "http://127.0.0.1:$self->{t}{emulator_port}/_emulator/$path",
			defined $data ? { content => $json->encode($data), headers => { 'content-type' => 'application/json' } } : {});
		last if $answer->{status} != 599;
	}
	die "emulator: $method $path: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return $answer->{content} =~ /\S/ ? $json->decode($answer->{content}) : undef;
}

# act({...}): what somebody else does; '' or why it was refused
sub act
{
	my ($self, $act) = @_;
	my $answer = eval { $self->emulator('POST', 'act', $act) };
	return $answer ? ('', $answer) : (($@ =~ /"error":"([^"]*)"/)[0] // $@);
}

# ---- the database

sub sql
{
	my ($self, $query) = @_;
	for my $try (1 .. 3)
	{
		$self->{psql} //= Psql->new($self->{t}->connstr);
		my ($out, $error) = $self->{psql}->query($query);
		return $out if !defined $error;
		die "$error->{state} $error->{message}\n" unless $error->{lost};
		delete $self->{psql};
		$self->come_up;
	}
	die "the server is gone\n";
}

# A query of ours that is asked all the time
sub prepared
{
	my ($self, $name, $query, @arguments) = @_;
	$self->sql('SELECT 1') unless $self->{psql};
	if (($self->{psql}{prepared}{$name} // '') ne $query)
	{
		$self->sql("DEALLOCATE $name") if $self->{psql}{prepared}{$name};
		$self->sql("PREPARE $name AS $query");
		$self->{psql}{prepared}{$name} = $query;
	}
	return $self->sql("EXECUTE $name");
}

sub rows { my ($self, $query) = @_; return @{ $json->decode($self->sql("SELECT coalesce(json_agg(q), '[]') FROM ($query) q")) } }

# ask(QUERY): (answer, undef) or (undef, {state, message})
sub ask
{
	my ($self, $query) = @_;
	$self->{psql} //= Psql->new($self->{t}->connstr);
	my ($out, $error) = $self->{psql}->query($query);
	if ($error && $error->{lost}) { delete $self->{psql}; $self->come_up; return (undef, { state => '08006', message => 'connection lost' }) }
	return ($out, $error);
}

sub come_up
{
	my ($self) = @_;
	my $end = time + 60;
	while (time < $end)
	{
		my $psql = eval { Psql->new($self->{t}->connstr) };
		if ($psql)
		{
			my ($out) = $psql->query('SELECT 1');
			if (defined $out && $out eq '1') { $self->{psql} = $psql; return }
		}
		sleep 0.1;
	}
	die "the server does not come up\n";
}

sub quote { my ($value) = @_; return 'NULL' unless defined $value; $value =~ s/'/''/g; return "'$value'" }

# ---- time

sub iso { my ($seconds) = @_; my $whole = POSIX::floor($seconds); return POSIX::strftime('%Y-%m-%dT%H:%M:%S', gmtime $whole) . sprintf('.%03dZ', ($seconds - $whole) * 1000) }

sub write_clock
{
	my ($self, $offset) = @_;
	open my $out, '>', "$self->{clock_file}.new" or die $!;
	printf $out "spinpanel.clock_offset = '%.6f'\n", $offset;
	close $out;
	rename "$self->{clock_file}.new", $self->{clock_file} or die $!;
	return;
}

sub now { my ($self) = @_; return time + $self->{offset} }

# Both clocks to that moment (seconds since 1970)
sub go_to
{
	my ($self, $to) = @_;
	my $clock = $to > $self->now + 0.05 ? eval { $self->emulator('POST', 'clock', { now => iso($to) }) } : undef;
	$clock //= $self->emulator('GET', 'clock');
	$self->{offset} = $clock->{offset_seconds};
	$self->write_clock($self->{offset});
	kill 'HUP', $self->{postmaster};
	my $wanted = sprintf '%.6f', $self->{offset};
	my $begun = time;
	my $end = $begun + 20;
	while (time < $end)
	{
		my ($is) = $self->ask("SELECT abs(extract(epoch FROM spinpanel._now() - now()) - $wanted) < 0.001");
		last if defined $is && $is eq 't';
		sleep 0.001;
	}
	$self->{moved} = time;
	$self->{move_time} += $self->{moved} - $begun;
	return;
}

# Makes the worker look now, as it does when its settings are read again
sub kick
{
	my ($self) = @_;
	$self->{moved} = time;
	kill 'HUP', $self->{worker} if $self->{worker};
	return;
}

# Until the worker has nothing to do that it could do now
sub quiesce
{
	my ($self) = @_;
	my $begun = time;
	$self->{stops}++;
	my ($kicks, $busy) = (0, 0);
	my $seq = $self->emulator('GET', 'counts')->{last_seq};
	$self->kick;
	while (1)
	{
		my $row = eval { $self->prepared('quiet', "SELECT concat_ws('|', coalesce((SELECT concat_ws('|', pid, extract(epoch FROM state_change), query ~ 'talking')"
				. " FROM pg_stat_get_activity(NULL) WHERE backend_type = 'spinpanel worker' AND query <> '' LIMIT 1), '0|0|t'), ($self->{due}))") } // '0|0|t|t';
		my ($pid, $change, $talking, $due) = split /\|/, $row;
		if ($pid && $pid ne ($self->{worker} // '')) { $self->{worker} = $pid; $self->kick }
		elsif ($talking eq 't') { $kicks = 0 }
		elsif ($change > $self->{moved})
		{
			last if $kicks >= ($due eq 'f' ? 1 : 3);
			$kicks++;
			$self->kick;
		}
		if (time - $begun > QUIET_SECONDS)
		{
			my @sent = @{ $self->emulator('GET', "requests?since=$seq") };
			my $runs = $self->sql("SELECT count(*) FROM spinpanel.run WHERE status IN ('queued', 'running')");
			# the same questions again and again, and nothing comes of them
			my @late = @sent > 25 ? @sent[ -25 .. -1 ] : ();
			my %paths = map { (($_->{method} // '') . ($_->{path} // '') => 1) } @late;
			if (!$busy++ && @late && !$runs && keys %paths <= 8 && !grep { $_->{mutating} && ($_->{status} // 0) < 400 && ($_->{status} // 0) >= 200 } @late)
			{
				my %kinds;
				$kinds{ $_->{kind} }++ for @sent;
				$self->{judges}->object('hot loop', '', sprintf('%d requests in %.0f s and no change among the last 25: %s', scalar @sent, time - $begun,
					join ' ', map { "$_:$kinds{$_}" } sort keys %kinds), { customer => $late[-1]{customer} });
			}
			last;
		}
		sleep 0.003;
	}
	if ($self->{verbose})
	{
		my %kinds;
		$kinds{ $_->{kind} }++ for @{ $self->emulator('GET', "requests?since=$seq") };
		$self->say('     asked: ' . join(' ', map { "$_:$kinds{$_}" } sort keys %kinds)) if %kinds;
	}
	$self->{quiet_time} += time - $begun;
	return;
}

# The next moment at which something of ours falls due: any time in the future that our tables of work hold
sub next_due
{
	my ($self) = @_;
	my $begun = time;
	my $at = $self->prepared('next_due', $self->{next_due});
	$self->{due_time} += time - $begun;
	return $at ne '' ? $at : undef;
}

sub due_queries
{
	my ($self) = @_;
	my @columns = $self->rows("SELECT c.relname AS t, a.attname AS a FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
		. " WHERE c.relnamespace = 'spinpanel'::regnamespace AND c.relkind = 'r' AND a.atttypid = 'timestamptz'::regtype AND NOT a.attisdropped"
		. " AND c.relname NOT IN ('subscription', 'subscription_raw', 'history', 'installation', 'credential', 'pool_reading', 'pool_excess', 'customer_excess', 'offer')"
		. " AND a.attname !~ '^(created|finished|changed|started|listed|gone|read|sent|confirmed|looked|paused|decided|connected|obtained|scheduled|provisioning|first_seen|seat_refused|settle|doubt|holders|.*_read)(_at)?\$' ORDER BY 1, 2");
	$self->{next_due} = 'SELECT extract(epoch FROM min(t)) FROM (' . join(' UNION ALL ', map { "SELECT min($_->{a}) AS t FROM spinpanel.$_->{t}"
		. " WHERE $_->{a} > spinpanel._now() AND $_->{a} < 'infinity'" } @columns) . ') q';
	$self->{due} = "SELECT EXISTS (SELECT FROM spinpanel.operation WHERE status IN ('queued', 'sending', 'unknown') AND not_before <= spinpanel._now())"
	  . " OR EXISTS (SELECT FROM spinpanel.license_request WHERE status NOT IN ('done', 'failed', 'cancelled') AND not_before <= spinpanel._now())"
	  . " OR EXISTS (SELECT FROM spinpanel.run WHERE status IN ('queued', 'running') AND not_before <= spinpanel._now())";
	return;
}

# ---- a life

# play(LIFE): the objections
sub play
{
	my ($self, $life, %options) = @_;
	my $t = $self->{t};
	$self->{life} = $life;
	$self->{begun} = time;
	$self->{said} = [];
	@{$self}{qw(stops quiet_time judge_time move_time due_time step_time)} = (0) x 6;
	$self->{opened} = {};
	$self->{ends} = [];
	$self->{at_step} = undef;
	$self->{stop_at_first} = $options{stop_at};
	$self->{sql_log} = [];
	$self->emulator('DELETE', 'faults');
	$self->emulator('POST', 'load', $life->{scenario});
	$self->rollback_prepared;
	$self->sql('DROP EXTENSION IF EXISTS spinpanel CASCADE');
	$self->{offset} = $self->emulator('GET', 'clock')->{offset_seconds};
	$self->sql('CREATE EXTENSION spinpanel');
	delete $self->{psql};
	$self->go_to($self->now + 1);
	$self->due_queries;
	$self->{start} = Books::seconds($Life::START);
	$self->{books} = Books->new(emulator => sub { $self->emulator(@_) });
	$self->{judges} = Judges->new(player => $self, books => $self->{books}, life => $life);
	$self->connect_account($_->{name}) for @{ $life->{scenario}{accounts} };
	$self->sql('SELECT spinpanel.sync()');
	$self->{moved} = time;
	$self->first_read;
	$self->{judges}->ready;
	$self->do_step($_) for @{ $life->{first} // [] };

	my @steps = @{ $life->{steps} };
	my $last = $life->{until} // $life->{days} * Life::DAY;
	my ($tick, $night) = (240, Life::NIGHT);
	my $calm = ($life->{days} - 4) * Life::DAY;
	my $dues = 0;
	my %passed;
	while (1)
	{
		# who is next
		my $now = ($self->now - $self->{start}) / 60;
		my @next = ([ $tick, 'tick' ], [ $night, 'night' ]);
		push @next, [ $steps[0]{at}, 'step' ] if @steps;
		push @next, [ $self->{ends}[0]{at}, 'end' ] if @{ $self->{ends} };
		push @next, [ $calm, 'calm' ] if defined $calm;
		for my $sub (grep { $_->{status} eq 'active' && $_->{term_end} } values %{ $self->{books}{subs} })
		{
			for my $off (-55, -25, -2, 2, 31, 62, 125, 245)
			{
				my $at = ($sub->{term_end} - $self->{start}) / 60 + $off;
				my $mark = "$sub->{id} $at";
				$passed{$mark} = $at, next if $at <= $now;
				push @next, [ $at, 'look' ];
			}
			if ($sub->{renewed_at})
			{
				for my $off (2, 31, 62, 125, 245) { my $at = ($sub->{renewed_at} - $self->{start}) / 60 + $off; push @next, [ $at, 'look' ] if $at > $now }
			}
		}
		my ($next) = sort { $a->[0] <=> $b->[0] } @next;
		my ($at, $what) = @$next;
		last if $at >= $last;
		if ($dues < DUES && $at > $now + 0.2)
		{
			my $due = $self->next_due;
			if (defined $due && ($due - $self->{start}) / 60 < $at)
			{
				$dues++;
				$self->say('(due)') if $self->{verbose};
				$self->go_to($due + 0.05);
				$self->quiesce;
				$self->judge;
				last if $self->stopped;
				next;
			}
		}
		$dues = 0;
		my $to = $self->{start} + $at * 60;
		$self->go_to($to) if $to > $self->now + 0.5;
		if ($what eq 'tick') { $tick += 240 }
		elsif ($what eq 'night') { $night += Life::DAY + 1 / 60;    # a little more than a day after the one before
			 $self->say('night'); $self->safely('SELECT spinpanel.nightly()'); $self->{moved} = time }
		elsif ($what eq 'calm') { undef $calm; @steps = (); $self->calm; $self->{moved} = time }
		elsif ($what eq 'end') { my $end = shift @{ $self->{ends} }; $self->say("over: $end->{what}"); $end->{code}->(); $self->{moved} = time }
		elsif ($what eq 'step')
		{
			my $step = shift @steps;
			$self->do_step($step);
			$self->{moved} = time;
			next if !$step->{wait} && @steps && $steps[0]{at} == $step->{at};
		}
		$self->quiesce;
		$self->judge;
		last if $self->stopped;
	}
	$self->{judges}->verdict unless $self->stopped || defined $life->{until};
	$self->clean_up;
	$self->{took} = time - $self->{begun};
	return $self->{judges}->objections;
}

sub stopped { my ($self) = @_; my $class = $self->{stop_at_first} or return 0; return scalar grep { $_->{class} eq $class } $self->{judges}->objections }

sub first_read
{
	my ($self) = @_;
	my $end = time + 30;
	while (time < $end)
	{
		return if $self->sql(q{SELECT count(*) FROM spinpanel.run WHERE status = 'done'}) eq '1';
		sleep 0.01;
	}
	die "the first reading does not end\n";
}

sub judge
{
	my ($self) = @_;
	my $begun = time;
	$self->{judges}->look;
	$self->{judge_time} += time - $begun;
	return;
}

sub say
{
	my ($self, $text) = @_;
	my $minutes = ($self->now - $self->{start}) / 60 + 360;
	my $line = sprintf 'day %2d %02d:%02d  %s', int($minutes / 1440), int($minutes % 1440 / 60), $minutes % 60, $text;
	push @{ $self->{said} }, $line;
	$self->{verbose}->("# $line\n") if $self->{verbose};
	return;
}

# ---- the end of something: at so many minutes from now
sub later
{
	my ($self, $minutes, $what, $code) = @_;
	my $at = ($self->now - $self->{start}) / 60 + $minutes;
	@{ $self->{ends} } = sort { $a->{at} <=> $b->{at} } @{ $self->{ends} }, { at => $at, what => $what, code => $code };
	return;
}

# Whatever is wrong ends, and managers wish for what every customer should have
sub calm
{
	my ($self) = @_;
	$self->say('from here on nothing is wrong');
	for my $end (splice @{ $self->{ends} }) { $end->{code}->() }
	$self->emulator('DELETE', 'faults');
	$_->{until} //= $self->now for @{ $self->{judges}{weather} };
	$self->safely(q{SELECT spinpanel.resume('*')});
	for my $c (@{ $self->{life}{customers} })
	{
		$self->setting($c->{name}, auto_increment => 'false', purchases => 'true', partner_center_sync => 'true');
		$self->setting($c->{name}, auto_license_adjustment => 'true', cooldown => '0', removal_limit_percent => 100, removal_limit_seats => 1000,
			purchase_limit_percent => 100, purchase_limit_seats => 1000, spare_seats => 0);
		for my $part (qw(SPB SPE_E3)) { $self->rule($c->{name}, $part, excluded => 'false', max_seats => 100000) }
	}
	$self->{judges}{calm} = $self->now;
	$self->safely('SELECT spinpanel.sync()');
	return;
}

sub safely { my ($self, $query) = @_; my ($out, $error) = $self->ask($query); $self->say("  refused: $error->{state} $error->{message}") if $error; return $out }

sub clean_up
{
	my ($self) = @_;
	$_->finish for map { $_->{psql} // () } values %{ $self->{opened} };
	$self->{opened} = {};
	$self->rollback_prepared;
	$self->emulator('DELETE', 'faults');
	return;
}

sub rollback_prepared
{
	my ($self) = @_;
	$self->sql("ROLLBACK PREPARED '$_'") for grep { /./ } split /\n/, $self->sql('SELECT gid FROM pg_prepared_xacts');
	return;
}

sub connect_account
{
	my ($self, $name) = @_;
	my ($account) = grep { $_->{name} eq $name } @{ $self->emulator('GET', 'accounts') };
	my $file = $self->{t}->credential_file({ client_secret => $account->{client_secret}, refresh_token => $account->{refresh_token} }, "$name.json");
	$self->safely($self->connect_sql($name, $account, $file));
	return;
}

sub connect_sql
{
	my ($self, $name, $account, $file) = @_;
	my $url = "http://127.0.0.1:$self->{t}{emulator_port}";
	return sprintf 'SELECT spinpanel.connect_account(%s, tenant_id => %s, client_id => %s, credential_file => %s, api_url => %s, login_url => %s, requests_per_minute => 100000)',
	  map { quote($_) } $name, $account->{tenant_id}, $account->{client_id}, $file, $url, $url;
}

# ---- steps

# SKUs that nobody has yet have no part number in our tables
my %SKU = (SPE_E3 => '05e9a617-0261-4cee-bb44-138d3ef5d965', EXCHANGEARCHIVE_ADDON => 'ee02fd1b-340e-4a4b-b355-4a514e4c8943');
sub sku { my ($sku) = @_; return $SKU{$sku} // $sku }

sub domain { my ($name) = @_; return lc($name) . '.example' }
sub upn { my ($c, $u) = @_; return "$u\@" . domain($c) }

sub do_step
{
	my ($self, $step) = @_;
	my $method = $step->{who} eq 'technician' && $step->{do} eq 'assign' ? 'do_assign_by_hand' : "do_$step->{do}";
	my $begun = time;
	my $note = $self->can($method) ? $self->$method($step) : die "nobody knows how to $step->{do}\n";
	$self->{step_time} += time - $begun;
	$self->{at_step} = $step->{n};
	$self->say(Life::words($step) . (defined $note && $note ne '' ? "  -> $note" : ''));
	return;
}

# One user by the number of a step: who holds the SKU directly, by name
sub pick_holder
{
	my ($self, $step, $sku) = @_;
	my $books = $self->{books};
	$books->read($self->{judges}->watch);
	my @from;
	for my $id (sort keys %{ $books->{users}{ $step->{c} } })
	{
		my $name = $books->{names}{$id}[-1] or next;
		next if defined $name->[1];
		my $hold = $books->holds_now($id, $sku) or next;
		push @from, $name->[2] unless $hold->{group};
	}
	@from = sort @from;
	return @from ? $from[ $step->{pick} % @from ] : undef;
}

sub pick_subscription
{
	my ($self, $step) = @_;
	my @subs = grep { $_->{status} eq 'active' } $self->{books}->subs_of("$step->{c}|$step->{sku}");
	return @subs ? $subs[ $step->{pick} % @subs ] : undef;
}

sub ask_request
{
	my ($self, $step, $kind, $c, $upn, $sku, %more) = @_;
	my ($out, $error) = $self->ask(sprintf 'SELECT request_id, status FROM spinpanel.%s_license(%s, %s, %s)', $kind, map { quote($_) } domain($c), $upn, sku($sku));
	return $self->asked($step, $kind, $c, $upn, $sku, $out, $error);
}

sub asked
{
	my ($self, $step, $kind, $c, $upn, $sku, $out, $error, %more) = @_;
	if ($error) { $self->{judges}->refused($step, $kind, $c, $upn, $sku, $error); return "$error->{state} $error->{message}" }
	my ($id, $status) = split /\|/, $out;
	$self->{judges}->wish(id => $id, kind => $kind, c => $c, upn => lc $upn, sku => $sku, step => $step->{n}, %more);
	return "request $id $status";
}

sub do_assign { my ($self, $s) = @_; return $self->ask_request($s, 'assign', $s->{c}, $self->named($s), $s->{sku}) }

sub named
{
	my ($self, $s) = @_;
	my $upn = upn($s->{c}, $s->{u});
	return $upn unless $s->{by_id};
	my ($id) = $self->{books}->bearers($s->{c}, $upn, $self->now, $self->now);
	return $id // $upn;
}

sub do_release
{
	my ($self, $s) = @_;
	my $upn = defined $s->{u} ? $self->named($s) : $self->pick_holder($s, $s->{sku}) // return 'nobody holds one';
	return $self->ask_request($s, 'release', $s->{c}, $upn, $s->{sku});
}

# Who asked last and waits
sub do_release_asked
{
	my ($self, $s) = @_;
	my @open = grep { $_->{c} eq $s->{c} && $_->{sku} eq $s->{sku} && $_->{kind} eq 'assign' } $self->{judges}->open_wishes;
	@open or return 'nobody waits';
	return $self->ask_request($s, 'release', $s->{c}, $open[ $s->{pick} % @open ]{upn}, $s->{sku});
}

sub do_bulk
{
	my ($self, $s) = @_;
	my @upns = map { upn($s->{c}, $_) } @{ $s->{us} };
	my ($out, $error) = $self->ask(sprintf "SELECT string_agg(request_id || '|' || status || '|' || coalesce(upn, ''), ' ' ORDER BY request_id) FROM spinpanel.assign_licenses(%s, ARRAY[%s], %s)",
		quote(domain($s->{c})), join(', ', map { quote($_) } @upns), quote(sku($s->{sku})));
	if ($error) { $self->{judges}->refused($s, 'assign', $s->{c}, $upns[0], $s->{sku}, $error, scalar @upns); return "$error->{state} $error->{message}" }
	for my $one (split / /, $out)
	{
		my ($id, $status, $upn) = split /\|/, $one;
		$self->{judges}->wish(id => $id, kind => 'assign', c => $s->{c}, upn => lc $upn, sku => $s->{sku}, step => $s->{n});
	}
	return $out;
}

sub do_upgrade
{
	my ($self, $s) = @_;
	my $upn = $self->pick_holder($s, $s->{from}) // return 'nobody holds one';
	return $self->several($s, [ 'release', $upn, $s->{from} ], [ 'assign', $upn, $s->{to} ]);
}

sub do_both { my ($self, $s) = @_; return $self->several($s, map { [ 'assign', upn($s->{c}, $s->{u}), $_ ] } @{ $s->{skus} }) }

# In one transaction
sub several
{
	my ($self, $s, @calls) = @_;
	$self->sql('BEGIN');
	my @got;
	for my $call (@calls)
	{
		my ($kind, $upn, $sku) = @$call;
		my ($out, $error) = $self->ask(sprintf 'SELECT request_id, status FROM spinpanel.%s_license(%s, %s, %s)', $kind, map { quote($_) } domain($s->{c}), $upn, $sku);
		if ($error) { $self->ask('ROLLBACK'); $self->{judges}->refused($s, $kind, $s->{c}, $upn, $sku, $error, 1, \@got); return "$error->{state} $error->{message}" }
		push @got, [ $kind, $upn, $sku, $out ];
	}
	$self->sql('COMMIT');
	return join ', ', map { $self->asked($s, $_->[0], $s->{c}, $_->[1], $_->[2], $_->[3], undef, together => [ map { $_->[2] } @got ]) } @got;
}

sub do_cancel
{
	my ($self, $s) = @_;
	my @open = $self->{judges}->open_wishes;
	@open or return 'nothing is open';
	my $wish = $open[ $s->{pick} % @open ];
	my ($out, $error) = $self->ask("SELECT status FROM spinpanel.cancel_request($wish->{id})");
	$wish->{cancelled} = $self->now if defined $out && $out eq 'cancelled';
	return "request $wish->{id}: " . ($out // $error->{message});
}

# A transaction that is left open, or prepared
sub do_open
{
	my ($self, $s) = @_;
	my $psql = Psql->new($self->{t}->connstr);
	my $name = "life_$s->{n}";
	my ($c, $account) = ($s->{c}, undef);
	my ($customer) = grep { $_->{name} eq $c } @{ $self->{life}{customers} };
	$account = $customer->{partners}[0];
	my $what = $s->{what};
	my $query =
	    $what eq 'assign' || $what eq 'release' ? sprintf('SELECT request_id, status FROM spinpanel.%s_license(%s, %s, %s)', $what, quote(domain($c)), quote(upn($c, $s->{u})), quote(sku($s->{sku})))
	  : $what eq 'bulk' ? sprintf('SELECT request_id, status FROM spinpanel.assign_licenses(%s, ARRAY[%s], %s)', quote(domain($c)), quote(upn($c, $s->{u})), quote(sku($s->{sku})))
	  : $what eq 'nightly' ? 'SELECT spinpanel.nightly()'
	  : $what eq 'set' ? sprintf('SELECT spinpanel.set_relationship(%s, spare_seats => 0)', quote(domain($c)))
	  : $what eq 'pause' ? sprintf('SELECT spinpanel.pause(%s)', quote(domain($c)))
	  : $what eq 'disconnect' ? sprintf('SELECT spinpanel.disconnect_account(%s)', quote($account))
	  : $self->connect_sql($account, (grep { $_->{name} eq $account } @{ $self->emulator('GET', 'accounts') })[0], "$self->{t}{dir}/$account.json");
	$psql->query('BEGIN');
	my ($out, $error) = $psql->query($query);
	if ($error) { $psql->finish; return "$error->{state} $error->{message}" }
	$psql->query("PREPARE TRANSACTION '$name'") if $s->{kind} eq 'prepared';
	$self->{opened}{$name} = { psql => $psql };
	my $log = { what => "open $what", c => $c, from => $self->now, account => $account };
	push @{ $self->{judges}{transactions} }, $log;
	$self->later($s->{for}, "step $s->{n} $s->{ends}", sub {
		my $is = delete $self->{opened}{$name} or return;
		my ($done, $failed) = $is->{psql}->query(uc($s->{ends}) . ($s->{kind} eq 'prepared' ? " PREPARED '$name'" : ''));
		($done, $failed) = $self->ask(uc($s->{ends}) . " PREPARED '$name'") if $failed && $failed->{lost} && $s->{kind} eq 'prepared';
		$is->{psql}->finish;
		$log->{until} = $self->now;
		return if $failed || $s->{ends} ne 'commit' || $what !~ /^(assign|release|bulk)$/;
		my ($id) = split /\|/, $out;
		$self->{judges}->wish(id => $id, kind => $what eq 'release' ? 'release' : 'assign', c => $c, upn => upn($c, $s->{u}), sku => $s->{sku}, step => $s->{n});
	});
	return $out;
}

# technicians

sub technician
{
	my ($self, $s, %act) = @_;
	my ($why) = $self->act({ customer => $s->{c}, %act });
	return $why eq '' ? 'done' : "refused: $why";
}

sub do_assign_by_hand { my ($self, $s) = @_; return $self->technician($s, do => 'assign', user => upn($s->{c}, $s->{u}), sku => $s->{sku}) }

sub do_unassign
{
	my ($self, $s) = @_;
	my $upn = $self->pick_holder($s, $s->{sku}) // return 'nobody holds one';
	return "$upn " . $self->technician($s, do => 'unassign', user => $upn, sku => $s->{sku});
}

sub do_raise
{
	my ($self, $s) = @_;
	my $sub = $self->pick_subscription($s) // return 'no subscription';
	return substr($sub->{id}, 0, 8) . ' ' . $self->technician($s, do => 'raise', subscription => $sub->{id}, seats => $s->{seats});
}

# Not below what is used: that would be the technician's own shortage
sub do_lower
{
	my ($self, $s) = @_;
	my $sub = $self->pick_subscription($s) // return 'no subscription';
	my $pool = $self->{books}->pool("$s->{c}|$s->{sku}");
	my $n = $pool->{active} - $pool->{consumed};
	$n = $s->{seats} if $n > $s->{seats};
	return 'nothing is free' if $n < 1 || $sub->{quantity} - $n < 1;
	return substr($sub->{id}, 0, 8) . ' ' . $self->technician($s, do => 'lower', subscription => $sub->{id}, seats => $n);
}

sub do_schedule
{
	my ($self, $s) = @_;
	my $sub = $self->pick_subscription($s) // return 'no subscription';
	my $quantity = $sub->{quantity} + $s->{delta};
	return 'not for this one' if $quantity < 1 || $sub->{commerce} ne 'nce';
	return substr($sub->{id}, 0, 8) . " $quantity " . $self->technician($s, do => 'schedule', subscription => $sub->{id}, quantity => $quantity);
}

sub of_subscription
{
	my ($self, $s, %act) = @_;
	my $sub = $self->pick_subscription($s) // return 'no subscription';
	return substr($sub->{id}, 0, 8) . ' ' . $self->technician($s, %act, subscription => $sub->{id});
}
sub do_end { return $_[0]->of_subscription($_[1], do => 'end_at_term') }
sub do_no_auto_renew { return $_[0]->of_subscription($_[1], do => 'auto_renew', on => JSON::PP::false) }
sub do_auto_renew { return $_[0]->of_subscription($_[1], do => 'auto_renew', on => JSON::PP::true) }
sub do_suspend { return $_[0]->of_subscription($_[1], do => 'suspend') }
sub do_buy { my ($self, $s) = @_; return $self->technician($s, do => 'buy', product => $Life::PRODUCT{ $s->{sku} }, quantity => $s->{seats}, term => $s->{term}, cycle => 'monthly') }

# administrators of customers

sub do_create_user { my ($self, $s) = @_; return $self->technician($s, actor => 'customer', do => 'create_user', upn => upn($s->{c}, $s->{u}), usage_location => 'US', id => user_id($s)) }
sub user_id { my ($s) = @_; return sprintf '%08x-0000-4000-8000-%012x', unpack('%32C*', $s->{c}) + 1000, $s->{key} // 1 }
sub do_rename_user { my ($self, $s) = @_; return $self->technician($s, actor => 'customer', do => 'rename_user', user => upn($s->{c}, $s->{u}), upn => upn($s->{c}, $s->{to})) }
sub do_delete_user { my ($self, $s) = @_; return $self->technician($s, actor => 'customer', do => 'delete_user', user => upn($s->{c}, $s->{u})) }

sub do_usage_location
{
	my ($self, $s) = @_;
	my ($id) = $self->{books}->bearers($s->{c}, upn($s->{c}, $s->{u}), $self->now, $self->now);
	push @{ $self->{judges}{locations}{$id} }, [ $self->now, $s->{to} ] if $id;
	return $self->technician($s, actor => 'customer', do => 'usage_location', user => upn($s->{c}, $s->{u}), usage_location => $s->{to});
}

sub do_group
{
	my ($self, $s) = @_;
	my $pool = $self->{books}->pool("$s->{c}|$s->{sku}");
	return 'no seat is free' if $pool->{active} <= $pool->{consumed};
	return $self->technician($s, actor => 'customer', do => 'group_assign', user => upn($s->{c}, $s->{u}), sku => $s->{sku});
}

# managers

my %DEFAULT = (purchases => 'true', partner_center_sync => 'true', auto_license_adjustment => 'false', auto_increment => 'false');

sub setting
{
	my ($self, $c, %set) = @_;
	my ($out, $error) = $self->ask(sprintf 'SELECT count(*) FROM spinpanel.set_relationship(%s, %s)', quote(domain($c)), join ', ', map { "$_ => " . quote($set{$_}) } sort keys %set);
	$self->{judges}->set($c, %set) unless $error;
	return $error ? "$error->{state} $error->{message}" : '';
}

sub rule
{
	my ($self, $c, $sku, %set) = @_;
	my $id = sku($sku);
	# a rule for a SKU that is not there yet
	$self->safely("INSERT INTO spinpanel.sku (sku_id, part_number) SELECT '$id', '$sku' WHERE NOT EXISTS (SELECT FROM spinpanel.sku WHERE sku_id = '$id')") if $id ne $sku;
	my ($out, $error) = $self->ask(sprintf 'SELECT spinpanel.set_license_rule(%s, %s, %s)', quote(domain($c)), quote($id), join ', ', map { "$_ => " . ($_ eq 'reset' ? $set{$_} : quote($set{$_})) } sort keys %set);
	$self->{judges}->rule($c, $sku, %set) unless $error;
	return $error ? "$error->{state} $error->{message}" : '';
}

sub do_set
{
	my ($self, $s) = @_;
	my %set = %{ $s->{set} };
	my $note = '';
	# one excludes the other
	if (($set{auto_license_adjustment} // '') eq 'true') { $self->setting($s->{c}, auto_increment => 'false') }
	$note = $self->setting($s->{c}, %set);
	if ($s->{for} && $note eq '')
	{
		my @names = sort keys %set;
		$self->later($s->{for}, "step $s->{n}", sub {
			my %back = map { ($_ => $DEFAULT{$_} // ($_ =~ /percent/ ? 100 : $_ =~ /limit_seats/ ? 50 : 0)) } @names;
			$self->setting($s->{c}, %back);
		});
	}
	return $note;
}

sub do_rule { my ($self, $s) = @_; return $self->rule($s->{c}, $s->{sku}, %{ $s->{set} }) }
sub do_reset_rule { my ($self, $s) = @_; return $self->rule($s->{c}, $s->{sku}, reset => q{ARRAY['default_offer']}) }

# No more seats than there are now, and ROOM
sub do_max_now
{
	my ($self, $s) = @_;
	my $owned = 0;
	$owned += $_->{quantity} for grep { $_->{status} eq 'active' } $self->{books}->subs_of("$s->{c}|$s->{sku}");
	my $note = $self->rule($s->{c}, $s->{sku}, max_seats => $owned + $s->{room});
	$self->later($s->{for}, "step $s->{n}", sub { $self->rule($s->{c}, $s->{sku}, max_seats => 100000) }) if $s->{for};
	return $note || 'max_seats ' . ($owned + $s->{room});
}

sub do_pause
{
	my ($self, $s) = @_;
	$self->safely(sprintf 'SELECT spinpanel.pause(%s)', quote(domain($s->{c})));
	$self->{judges}->set($s->{c}, paused => 'true');
	$self->later($s->{for}, "step $s->{n}", sub {
		$self->safely(sprintf 'SELECT spinpanel.resume(%s)', quote(domain($s->{c})));
		$self->{judges}->set($s->{c}, paused => 'false');
	});
	return '';
}

sub do_approve { my ($self, $s) = @_; return $self->decide($s, 'approve') }
sub do_reject { my ($self, $s) = @_; return $self->decide($s, 'reject') }

sub decide
{
	my ($self, $s, $how) = @_;
	my @open = $self->rows("SELECT a.adjustment_id, a.subscription_id, a.action, a.from_quantity, a.to_quantity, a.run_id, a.sku_id FROM spinpanel.adjustment a JOIN spinpanel.customer c USING (customer_id)"
		. " WHERE a.status = 'awaiting_approval' AND c.name = " . quote($s->{c}) . ' ORDER BY a.adjustment_id');
	@open or return 'nothing waits';
	my $a = $open[ $s->{pick} % @open ];
	my ($out, $error) = $self->ask("SELECT status FROM spinpanel.$how($a->{adjustment_id})");
	push @{ $self->{judges}{decisions} }, { %$a, how => $how, at => $self->now, c => $s->{c} } unless $error;
	return "$a->{action} $a->{from_quantity}>$a->{to_quantity} " . ($out // $error->{message});
}

sub do_sync { my ($self, $s) = @_; return $self->safely(sprintf 'SELECT spinpanel.sync(%s)', quote(domain($s->{c}))) }
sub do_adjust { my ($self, $s) = @_; return $self->safely(sprintf 'SELECT spinpanel.adjust(%s)', quote(domain($s->{c}))) }

sub do_disconnect
{
	my ($self, $s) = @_;
	my ($out, $error) = $self->ask('SELECT spinpanel.disconnect_account(' . quote($s->{account}) . ')');
	return $error->{message} if $error;
	my $log = { what => 'disconnected', account => $s->{account}, from => $self->now };
	push @{ $self->{judges}{weather} }, $log;
	$self->{judges}->disconnected($s->{account});
	$self->later($s->{for}, "step $s->{n}", sub { $self->connect_account($s->{account}); $log->{until} = $self->now });
	return '';
}

# the weather

sub add_fault
{
	my ($self, $minutes, $what, $rule, $c, $n) = @_;
	my $id = $self->emulator('POST', 'faults', $rule)->{id};
	my $log = { what => $what, c => $c, from => $self->now, rule => $rule };
	push @{ $self->{judges}{weather} }, $log;
	$self->later($minutes, $n, sub {
		$self->emulator('DELETE', "faults?id=$id");
		$log->{until} = $self->now;
		# what Retry-After says is waited for on the real clock
		sleep 1.1 if ($rule->{status} // 0) == 429;
	});
	return;
}

sub customer_id
{
	my ($self, $c) = @_;
	my ($id) = grep { $self->{books}{customer}{$_} eq $c } keys %{ $self->{books}{customer} };
	return $id;
}

sub do_fault
{
	my ($self, $s) = @_;
	my %match = %{ $s->{match} };
	$match{customer} = $self->customer_id($s->{c}) if defined $s->{c} && $s->{what} ne 'token';
	$self->add_fault($s->{for}, $s->{what}, { match => \%match, %{ $s->{rule} } }, $s->{c}, "step $s->{n}");
	return '';
}

sub do_slow { my ($self, $s) = @_; $self->add_fault($s->{for}, 'slow', { match => { customer => $self->customer_id($s->{c}) }, action => 'delay', ms => $s->{ms} }, $s->{c}, "step $s->{n}"); return '' }

# Somebody takes a seat right before or right after a change of ours is carried out
sub do_race
{
	my ($self, $s) = @_;
	my $id = $self->emulator('POST', 'faults', { match => { kind => 'patch_subscription', customer => $self->customer_id($s->{c}) }, count => 1, action => 'none',
			$s->{when} => { customer => $s->{c}, do => 'assign', user => upn($s->{c}, $s->{u}), sku => $s->{sku}, optional => JSON::PP::true } })->{id};
	$self->later($s->{for}, "step $s->{n}", sub { $self->emulator('DELETE', "faults?id=$id") });
	return '';
}

sub do_after_race
{
	my ($self, $s) = @_;
	push @{ $self->{judges}{after_race} }, { c => $s->{c}, seq => $self->{books}{seq}, code => sub {
		$self->add_fault($s->{for}, 'skus', { match => { kind => 'subscribedskus', customer => $self->customer_id($s->{c}) }, %{ $s->{rule} } }, $s->{c}, "step $s->{n}");
	} };
	return '';
}

sub do_gone
{
	my ($self, $s) = @_;
	my ($customer) = grep { $_->{name} eq $s->{c} } @{ $self->{life}{customers} };
	my @partners = @{ $customer->{partners} };
	$self->act({ customer => $s->{c}, do => 'relationship', on => JSON::PP::false, partner => $_ }) for @partners;
	my $log = { what => 'gone', c => $s->{c}, from => $self->now };
	push @{ $self->{judges}{weather} }, $log;
	$self->later($s->{for}, "step $s->{n}", sub {
		$self->act({ customer => $s->{c}, do => 'relationship', on => JSON::PP::true, partner => $_ }) for @partners;
		$log->{until} = $self->now;
	});
	return '';
}

sub do_kill
{
	my ($self, $s) = @_;
	sleep $s->{after_ms} / 1000;
	my $t = $self->{t};
	$_->{psql}->finish, delete $_->{psql} for grep { $_->{psql} } values %{ $self->{opened} };
	my $log = { what => 'killed', from => $self->now, until => $self->now + 1 };
	push @{ $self->{judges}{weather} }, $log;
	if ($s->{what} eq 'restart') { delete $self->{psql}; $t->node->stop('immediate'); $t->node->start }
	else { $t->kill9; delete $self->{psql} }
	open my $pid, '<', $t->node->data_dir . '/postmaster.pid' or die $!;
	chomp($self->{postmaster} = <$pid>);
	$self->come_up;
	$self->go_to($self->now);
	return '';
}

package Psql;

use IPC::Open2;
use Time::HiRes qw(time);

sub new
{
	my ($class, $connstr) = @_;
	my $self = bless { n => 0, buffer => '' }, $class;
	$self->{pid} = open2($self->{out}, $self->{in}, 'sh', '-c', 'exec psql -XAtq -v VERBOSITY=verbose -v SHOW_CONTEXT=never -d "$1" 2>&1', 'sh', $connstr);
	binmode $self->{in}, ':raw';
	$self->{in}->autoflush(1);
	# who waits longer for somebody's transaction is told
	$self->query("SET lock_timeout = '2s'");
	return $self;
}

# query(SQL): (answer, undef) or (undef, {state, message, lost})
sub query
{
	my ($self, $sql) = @_;
	return (undef, { lost => 1, state => '08006', message => 'gone' }) unless $self->{in};
	my $mark = '=' . ++$self->{n} . '=';
	local $SIG{PIPE} = 'IGNORE';
	print { $self->{in} } "$sql\n;\n\\echo $mark\n" or return $self->lost('write');
	my $end = time + 60;
	while ($self->{buffer} !~ /(?:^|\n)\Q$mark\E\n/)
	{
		my $bits = '';
		vec($bits, fileno($self->{out}), 1) = 1;
		select($bits, undef, undef, 5) or do { return $self->lost('no answer') if time > $end; next };
		my $n = sysread $self->{out}, $self->{buffer}, 65536, length $self->{buffer};
		return $self->lost($self->{buffer}) unless $n;
	}
	(my $answer = $self->{buffer}) =~ s/(?:^|\n)\Q$mark\E\n//;
	$self->{buffer} = '';
	return $self->lost($answer) if $answer =~ /^(?:FATAL|PANIC): |server closed the connection|connection to server was lost|terminating connection/m;
	return (undef, { state => $1, message => $2 }) if $answer =~ /^ERROR:  ([0-9A-Z]{5}): (.*)/m;
	$answer = join "\n", grep { !/^(WARNING|NOTICE|LOG|INFO|DETAIL|HINT|LOCATION):/ } split /\n/, $answer;
	return ($answer, undef);
}

sub lost
{
	my ($self, $why) = @_;
	$self->finish;
	return (undef, { lost => 1, state => '08006', message => $why });
}

sub finish
{
	my ($self) = @_;
	return unless $self->{pid};
	local $?;
	close $self->{in} if $self->{in};
	close $self->{out} if $self->{out};
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	delete @{$self}{qw(pid in out)};
	return;
}

sub DESTROY { my ($self) = @_; $self->finish; return }

1;
