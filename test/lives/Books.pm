# What the emulator's ledger says, followed entry by entry: seats, holders, names and who changed them.  Judges ask here.
# Nothing in here comes from our own tables.
package Books;

use strict;
use warnings;

# The pool of one SKU at one customer is "customer|part number"; its past is a list of
# { time, active, consumed, entry }, the newest last.
sub new
{
	my ($class, %options) = @_;
	my $self = bless { %options, seq => 0, subs => {}, pools => {}, users => {}, holds => {}, names => {}, part => {}, customer => {} }, $class;
	$self->refresh(1);
	return $self;
}

# seconds since 1970 of a time as the emulator writes it
sub seconds
{
	my ($text) = @_;
	return undef unless defined $text;
	my ($y, $mo, $d, $h, $mi, $s, $f) = $text =~ /^(\d+)-(\d+)-(\d+)[T ](\d+):(\d+):(\d+)(\.\d+)?/ or return undef;
	$y -= $mo <= 2;
	my $era = int($y / 400);
	my $yoe = $y - $era * 400;
	my $doy = int((153 * ($mo + ($mo > 2 ? -3 : 9)) + 2) / 5) + $d - 1;
	my $doe = $yoe * 365 + int($yoe / 4) - int($yoe / 100) + $doy;
	return (($era * 146097 + $doe - 719468) * 86400 + $h * 3600 + $mi * 60 + $s) + ($f // 0);
}

# What no ledger entry tells (dates, schedules) is looked up; the first time, everything is
sub refresh
{
	my ($self, $first) = @_;
	# nothing of this changes without an entry
	return if !$first && !$self->{always} && ($self->{refreshed} // -1) == $self->{seq};
	my $state = $self->{emulator}->('GET', $first ? 'state?users=1' : 'state');
	$self->{refreshed} = $self->{seq};
	$self->{now} = seconds($state->{clock}{now});
	for my $c (@{ $state->{customers} })
	{
		my $name = $c->{name};
		$self->{customer}{ $c->{id} } = $name;
		$self->{listed}{$name} = scalar @{ $c->{partners} };
		$self->{access}{$name} = $c->{licence_access};
		for my $s (@{ $c->{subscriptions} })
		{
			my $sub = $self->{subs}{ $s->{id} } //= { id => $s->{id}, customer => $name, quantity => $s->{quantity}, status => $s->{status} };
			$self->{part}{ $s->{sku_id} } = $s->{part_number};
			@{$sub}{qw(part commerce account trial auto_renew extended batches updates offer parent renewing)} =
			  @{$s}{qw(part_number commerce partner trial auto_renew extended batches updates offer parent renewing_until)};
			$sub->{term_end} = seconds($s->{term_end});
			$sub->{term_start} = seconds($s->{term_start});
			$sub->{cancel_until} = seconds($s->{cancel_until});
			$sub->{next} = $s->{scheduled_next} ? $s->{scheduled_next}{quantity} : undef;
			$sub->{pending} = $s->{pending};
			$sub->{ends} = !$s->{auto_renew} && !$s->{extended} || grep { $_->{actionType} eq 'Cancel' } @{ $s->{scheduled_actions} // [] };
			$sub->{created} = seconds($s->{created});
		}
		for my $p (@{ $c->{pools} })
		{
			$self->{part}{ $p->{sku_id} } = $p->{part_number};
			my $pool = $self->pool("$name|$p->{part_number}");
			$pool->{assignable} = $p->{assignable};
			next unless $first;
			@{$pool}{qw(active consumed foreign)} = @{$p}{qw(active consumed foreign)};
			$pool->{extra} = $p->{consumed};    # less the users' below
			$pool->{past} = [ { time => 0, active => $p->{active}, consumed => $p->{consumed} } ];
		}
		next unless $first;
		for my $u (@{ $c->{users} })
		{
			$self->{names}{ $u->{id} } = [ [ 0, undef, lc $u->{upn} ] ] if $u->{state} eq 'active';
			$self->{users}{$name}{ $u->{id} } = { id => $u->{id}, location => $u->{usage_location} };
			$self->{location}{ $u->{id} } = $u->{usage_location};
			for my $part (@{ $u->{licences} })
			{
				push @{ $self->{holds}{"$u->{id}|$part"} }, { from => 0, by => 'scenario', seq => 0 };
				$self->pool("$name|$part")->{extra}--;
			}
			for my $part (@{ $u->{group_licences} })
			{
				push @{ $self->{holds}{"$u->{id}|$part"} }, { from => 0, by => 'scenario', seq => 0, group => 1 };
			}
		}
	}
	return $state;
}

sub pool { my ($self, $key) = @_; return $self->{pools}{$key} //= { key => $key, active => 0, consumed => 0, extra => 0, past => [ { time => 0, active => 0, consumed => 0 } ] } }

# read(CODE): takes new entries in; CODE is called with each (as entry, pool key), before it counts and after
sub read
{
	my ($self, $before, $after) = @_;
	for my $e (@{ $self->{emulator}->('GET', "ledger?since=$self->{seq}") })
	{
		$self->{seq} = $e->{seq};
		$e->{at} = seconds($e->{time});
		$e->{ours} = ($e->{actor} // '') =~ /^app/ ? 1 : 0;
		my $name = $self->{customer}{ $e->{customer} // '' } // '';
		$e->{name} = $name;
		my $part = $self->{part}{ $e->{sku_id} // '' };
		if (!defined $part && defined $e->{sku_id}) { delete $self->{refreshed}; $self->refresh; $part = $self->{part}{ $e->{sku_id} } }
		$e->{part} = $part // '';
		$e->{key} = "$name|$e->{part}";
		$before->($e) if $before;
		$self->take($e);
		push @{ $self->{entries}{ $e->{key} } }, $e if $e->{key} ne '|';
		$after->($e) if $after;
	}
	return;
}

sub take
{
	my ($self, $e) = @_;
	my $action = $e->{action};
	if ($e->{subscription} && $e->{after} && defined $e->{after}{status})
	{
		my $sub = $self->{subs}{ $e->{subscription} } //= { id => $e->{subscription}, customer => $e->{name}, part => $e->{part}, status => 'none', quantity => 0,
			account => $e->{account}, commerce => 'nce', created => $e->{at}, bought_by => $e->{actor} };
		my $pool = $self->pool($e->{key});
		my $was = $sub->{status} eq 'active' ? $sub->{quantity} : 0;
		$sub->{quantity} = $e->{after}{quantity};
		$sub->{status} = $e->{after}{status};
		$sub->{auto_renew} = $e->{after}{auto_renew};
		my $is = $sub->{status} eq 'active' ? $sub->{quantity} : 0;
		$pool->{active} += $is - $was;
		$e->{delta} = $is - $was;
		$self->remember($pool, $e) if $is != $was;
		if ($action =~ /^(schedule|renewal_plan|auto_renew)$/)
		{
			my $next = $e->{after}{scheduled_next};
			my $cancel = grep { $_->{actionType} eq 'Cancel' } @{ $e->{after}{scheduled_actions} // [] };
			$sub->{plan} = { next => $next ? $next->{quantity} : undef, auto_renew => $e->{after}{auto_renew}, cancel => $cancel,
				by => $e->{ours} ? 'ours' : 'person', at => $e->{at}, quantity => $sub->{quantity} };
		}
		if ($action =~ /^(renew|extended_term)$/) { $sub->{last_plan} = delete $sub->{plan}; $sub->{renewed_at} = $e->{at} }
		if ($action =~ /^(disable|expire)$/) { $sub->{last_plan} = delete $sub->{plan} }
	}
	elsif ($action eq 'schedule_wiped')
	{
		my $sub = $self->{subs}{ $e->{subscription} };
		if ($sub && $sub->{plan})
		{
			$sub->{wiped} = { %{ $sub->{plan} }, wiped_at => $e->{at}, wiped_by => $e->{ours} ? 'ours' : 'person' };
			delete $sub->{plan};
		}
	}
	elsif ($action eq 'assign' || $action eq 'unassign')
	{
		my $pool = $self->pool($e->{key});
		$pool->{consumed} += $action eq 'assign' ? 1 : -1;
		$self->remember($pool, $e);
		my $holds = $self->{holds}{"$e->{user}|$e->{part}"} //= [];
		if ($action eq 'assign') { push @$holds, { from => $e->{at}, by => $e->{ours} ? 'ours' : 'person', seq => $e->{seq}, group => $e->{after}{group} } }
		elsif (@$holds) { $holds->[-1]{to} //= $e->{at}; $holds->[-1]{ended_by} = $e->{ours} ? 'ours' : 'person' }
	}
	elsif ($action eq 'consume')
	{
		my $pool = $self->pool($e->{key});
		$pool->{consumed} += $e->{after}{extra_consumed} - $pool->{extra};
		$pool->{extra} = $e->{after}{extra_consumed};
		$self->remember($pool, $e);
	}
	elsif ($action eq 'create_user' || $action eq 'restore_user')
	{
		push @{ $self->{names}{ $e->{user} } }, [ $e->{at}, undef, lc $e->{after}{upn} ];
		$self->{users}{ $e->{name} }{ $e->{user} } //= { id => $e->{user} };
	}
	elsif ($action eq 'rename_user')
	{
		my $names = $self->{names}{ $e->{user} };
		$names->[-1][1] = $e->{at};
		push @$names, [ $e->{at}, undef, lc $e->{after}{upn} ];
	}
	elsif ($action eq 'delete_user') { $self->{names}{ $e->{user} }[-1][1] = $e->{at} }
	elsif ($action eq 'usage_location') { push @{ $self->{location_changes}{ $e->{user} } }, $e }
	return;
}

sub remember
{
	my ($self, $pool, $e) = @_;
	push @{ $pool->{past} }, { time => $e->{at}, active => $pool->{active}, consumed => $pool->{consumed}, entry => $e };
	return;
}

# bearers(CUSTOMER, UPN or id, FROM, TO): ids of users who had that name at some time between
sub bearers
{
	my ($self, $name, $upn, $from, $to) = @_;
	my @found;
	for my $id (keys %{ $self->{users}{$name} })
	{
		if (lc $upn eq lc $id) { push @found, $id if grep { !defined $_->[1] || $_->[1] >= $from } @{ $self->{names}{$id} // [] }; next }
		push @found, $id if grep { $_->[2] eq lc $upn && $_->[0] <= $to && (!defined $_->[1] || $_->[1] >= $from) } @{ $self->{names}{$id} // [] };
	}
	return sort @found;
}

# The whole time from FROM to TO somebody had that name, one and the same
sub steady_bearer
{
	my ($self, $name, $upn, $from, $to) = @_;
	for my $id (keys %{ $self->{users}{$name} })
	{
		return $id if grep { (lc $upn eq lc $id || $_->[2] eq lc $upn) && $_->[0] <= $from && (!defined $_->[1] || $_->[1] > $to) } @{ $self->{names}{$id} // [] };
	}
	return undef;
}

# held(USER, PART, FROM, TO): at some time between
sub held
{
	my ($self, $user, $part, $from, $to) = @_;
	for my $h (@{ $self->{holds}{"$user|$part"} // [] })
	{
		return 1 if $h->{from} <= $to && (!defined $h->{to} || $h->{to} >= $from);
	}
	return 0;
}

# ... and not held at some time between
sub lacked
{
	my ($self, $user, $part, $from, $to) = @_;
	my $since = $from;
	for my $h (sort { $a->{from} <=> $b->{from} } @{ $self->{holds}{"$user|$part"} // [] })
	{
		next if defined $h->{to} && $h->{to} < $since;
		return 1 if $h->{from} > $since;
		return 0 if !defined $h->{to} || $h->{to} > $to;
		$since = $h->{to};
		return 1;    # held until then, and not for a moment at least
	}
	return 1;
}

sub holds_now { my ($self, $user, $part) = @_; my $h = $self->{holds}{"$user|$part"}; return $h && @$h && !defined $h->[-1]{to} ? $h->[-1] : undef }

# before(POOL, TIME): the entry of its past that stood then
sub at
{
	my ($self, $key, $time) = @_;
	my $past = $self->pool($key)->{past};
	for my $p (reverse @$past) { return $p if $p->{time} <= $time }
	return $past->[0];
}

sub pools_of { my ($self) = @_; return map { $self->{pools}{$_} } sort keys %{ $self->{pools} } }
sub subs_of { my ($self, $key) = @_; return sort { ($a->{created} // 0) <=> ($b->{created} // 0) || $a->{id} cmp $b->{id} } grep { "$_->{customer}|$_->{part}" eq $key } values %{ $self->{subs} } }

1;
